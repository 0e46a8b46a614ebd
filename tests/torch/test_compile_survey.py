"""The survey of what `torch.compile` makes one graph of: its command runs all, this test some."""

import pytest
import torch

from tests.torch import compile_survey

pytestmark = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13), reason="needs its compiler"
)
REFUSED = compile_survey.refused()
del REFUSED[
    "vmap of hessian, as of torch.func"
]  # PyTorch does not leave its transforms when it fails


def test_one_graph():
    programs = compile_survey.programs()
    assert len(programs) > 100
    for name in ("grad", "tree_add", "a step of SGD", "lax: while_loop"):
        assert compile_survey.graphs_of(programs[name]) == 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_said(name):
    reason = compile_survey.graphs_of(REFUSED[name])
    assert isinstance(reason, str)
    if "NotImplementedError" in reason:
        assert "torch.compile" in reason
