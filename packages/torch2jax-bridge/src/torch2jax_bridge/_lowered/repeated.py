"""Products of many matrices with one, which PyTorch repeats as often as there are others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from torch2jax_bridge._lowered.program import Meta, Program, Ref, Step

_SAME = ("aten::view", "aten::_unsafe_view", "aten::reshape")


def without_repeated_matrices(program: Program) -> Program:
    """Return the program with each product of matrices by one that is repeated as one by that itself.

    `torch.nn.functional.linear` of an array whose dimensions were swapped is such a product.
    """
    made = {step.results: step for step in program.steps if isinstance(step.results, Ref)}
    steps = tuple(_by_one(step, made, program.metas) for step in program.steps)
    return replace(program, steps=steps)


def _by_one(step: Step, made: Mapping[Ref, Step], metas: Mapping[Ref, Meta]) -> Step:
    if step.name != "aten::bmm":
        return step
    args = tuple(_once(ref, step.constant, made, metas) for ref in step.args)
    if args == step.args:
        return step
    return replace(step, name="aten::matmul", call=torch.matmul, args=args)


def _once(ref: Ref, constant: bool, made: Mapping[Ref, Step], metas: Mapping[Ref, Meta]) -> Ref:
    """Return the matrix of which many matrices are copies, or these if they differ."""
    place = ref
    while (step := made.get(place)) is not None and step.constant == constant:
        source = step.args[0]
        if not isinstance(source, Ref):
            break
        before, after = metas[source].shape, metas[place].shape
        if step.name == "aten::expand" and before == after[1:] and len(before) == 2:
            return source
        if before != after or step.name not in (*_SAME, "aten::expand"):
            break
        place = source
    return ref
