"""PyTorch's level of forward mode, of which both packages know the same."""

import subprocess
import sys

import pytest
from torch.autograd import forward_ad

from pax_tree._forward_level import forward_level


def test_a_level_of_the_user_survives_what_overlapped_before():
    first, second = forward_level(), forward_level()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    with forward_ad.dual_level():
        with pytest.raises(RuntimeError, match="forward mode AD"), forward_level():
            pytest.fail("a second level was opened")
        assert forward_ad._current_level == 0
    assert forward_ad._current_level == -1


def test_without_torchs_private_counts_a_derivative_is_taken_as_torch_takes_it():
    program = """
import torch
from pax_tree import _foreign
_foreign.hidden.add("torch._functorch.eager_transforms.JVP_NESTING")
from pax_tree._forward_level import forward_level
with forward_level():
    assert torch.func.jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))[1] == 1
"""
    subprocess.run([sys.executable, "-c", program], check=True)
