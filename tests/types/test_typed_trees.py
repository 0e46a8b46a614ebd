# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
# mypy: warn-unused-ignores, check-untyped-defs
"""Functions of trees return, for type checkers, the type that they take."""

from __future__ import annotations

from typing import Any, NamedTuple, assert_type

import pytest
import torch

import pax_torch
import pax_tree


class Params(NamedTuple):
    weight: torch.Tensor
    bias: list[torch.Tensor]


PARAMS = Params(torch.ones(2), [torch.zeros(1)])


def test_arithmetic() -> None:
    assert_type(pax_tree.tree_add(PARAMS, PARAMS), Params)
    assert_type(pax_tree.tree.add(PARAMS, PARAMS, 0.5), Params)
    assert_type(pax_tree.tree_subtract(PARAMS, PARAMS), Params)
    assert_type(pax_tree.tree_neg(PARAMS), Params)
    assert_type(pax_tree.tree_scale(0.5, PARAMS), Params)
    assert_type(pax_torch.tree_zeros_like(PARAMS), Params)
    assert_type(pax_tree.tree_numel(PARAMS), int)


def test_paths() -> None:
    assert_type(pax_tree.tree_replace_at(PARAMS, "bias/0", torch.ones(1)), Params)
    accessors, leaves, structure = pax_tree.tree_flatten_with_accessor(PARAMS)
    assert_type(accessors, list[pax_tree.PyTreeAccessor])
    assert_type(leaves, list[Any])
    assert_type(structure, pax_tree.PyTreeDef)
    assert_type(accessors[0].codify("params"), str)
    assert_type(pax_tree.keystr(accessors[0]), str)


def test_of_torch() -> None:
    assert_type(pax_torch.tree_clone(PARAMS), Params)
    assert_type(pax_torch.tree_cast(PARAMS, torch.float64), Params)
    assert_type(pax_torch.tree_to(PARAMS, "cpu"), Params)
    assert_type(pax_torch.stop_gradient(PARAMS), Params)


def test_registering_keeps_the_class() -> None:
    class Mode(str):
        __slots__ = ()

    assert_type(pax_tree.register_static(Mode), type[Mode])
    with pytest.raises(ValueError, match="already"):
        pax_tree.register_static(Mode)
