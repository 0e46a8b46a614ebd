"""Modules with state or parts against PyTorch's own samples; `python -m tests.bridge.modules` runs all."""

import warnings

import jax
import pytest
from torch.testing._internal.common_modules import module_db

from tests.bridge.modules import try_module

NAMES = (
    *("BatchNorm1d", "InstanceNorm2d", "GroupNorm", "LSTM", "GRU"),
    *("MultiheadAttention", "TransformerEncoderLayer", "EmbeddingBag"),
    *("ConvTranspose1d", "CrossEntropyLoss"),
)
CHOSEN = [info for info in module_db if info.name.rpartition(".")[2] in NAMES]


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("info", CHOSEN, ids=lambda info: info.name.rpartition(".")[2])
def test_samples_of_modules_equal_pytorch(info, training):
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = try_module(info, training, 1)
    assert counts["refused"] == 0
