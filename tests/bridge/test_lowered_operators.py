"""Rules of operators against PyTorch's own samples; `python -m tests.bridge.operators` runs all."""

import warnings

import jax
import pytest
import torch

from tests.bridge.operators import name_of, operators, try_operator


@pytest.mark.parametrize("operator", operators(), ids=name_of)
def test_samples_equal_pytorch(operator):
    dtypes = operator.supported_dtypes("cpu")
    dtype = next(d for d in (torch.float32, torch.int64, *sorted(dtypes, key=str)) if d in dtypes)
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = try_operator(operator, dtype, 2)
    assert outcome.wrong == []
