"""Control flow as the operators that PyTorch has for it, in programs that are written down.

An operator takes all tensors as arguments. Those that a function closes over are found by writing the
function down first; they are constants of its graph, and become arguments.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pax_torch._compat import (
    all_examples,
    choosing,
    differentiates,
    inside_of_transforms,
    is_without_values,
    one_example,
    outside_of_transforms,
    repeating,
    running_vmaps,
    transforms_active,
)
from pax_torch._compile.closed import Closed, Flat, Tensors


def distinct(tensors: Tensors) -> list[Tensor]:
    """Return the tensors, each once: operators take no argument twice."""
    return list({id(tensor): tensor for tensor in tensors}.values())


def copies(tensors: Tensors) -> list[Tensor]:
    """Return copies, since no two arguments of an operator may share memory."""
    return [tensor.clone() for tensor in tensors]


def can_be_operators(*tensors: Tensor) -> bool:
    """Whether what runs now is written down, and no derivative of it is taken or map made."""
    if torch.compiler.is_compiling() or not is_without_values() or transforms_active():
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))


def choose(predicate: Tensor, functions: Sequence[Flat], tensors: Tensors) -> Tensors | None:
    """Return what the first function returns if the predicate is true, and else the second.

    None where the operator cannot carry what the functions close over.
    """
    tensors = copies(tensors)
    closed = [Closed(function, tensors) for function in functions]
    constants = distinct([*closed[0].constants, *closed[1].constants])
    if not can_be_operators(*tensors, *constants):
        return None
    functions = [each.among(constants) for each in closed]
    return choosing()(predicate, *functions, (*tensors, *copies(constants)))


def repeat(predicate: Flat, body: Flat, tensors: Tensors) -> Tensors | None:
    """Return the tensors after as many steps as the predicate says; None as for `choose`."""
    tensors = copies(tensors)
    ask, step = Closed(predicate, tensors), Closed(body, tensors)
    constants = distinct([*ask.constants, *step.constants])
    if not can_be_operators(*tensors, *constants):
        return None
    asked = ask.among(constants)

    def holds(*given: Tensor) -> Tensor:
        return asked(*given)[0]

    after = step.among(constants)
    return repeating()(holds, after, tuple(tensors), tuple(copies(constants)))


def can_be_repeated(*tensors: Tensor) -> bool:
    """Whether `torch.compile` looks at what runs now, and no derivative of it is taken or map made."""
    if not torch.compiler.is_compiling() or transforms_active():
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))


def repeat_compiled(predicate: Flat, body: Flat, tensors: Tensors) -> Tensors:
    """Do what `repeat` does where the compiler finds what the functions close over."""

    def step(*given: Tensor) -> tuple[Tensor, ...]:
        return tuple(copies(body(*given)))

    return repeating()(lambda *given: predicate(*given)[0], step, tuple(copies(tensors)), ())


def can_be_mapped() -> bool:
    """Whether what runs now is written down, and mapped by `vmap` without a derivative."""
    if torch.compiler.is_compiling():
        return False
    return is_without_values() and transforms_active() and not differentiates()


def repeat_mapped(predicate: Flat, body: Flat, tensors: Tensors) -> Tensors | None:
    """Do what `repeat` does inside `vmap`, by a loop over all examples that goes on for any of them."""
    vmaps = sorted(running_vmaps())
    given = [all_examples(tensor, vmaps) for tensor in tensors]
    with outside_of_transforms() as stack:

        def holds(*examples: Tensor) -> Tensors:
            with inside_of_transforms(stack):
                found = predicate(*[one_example(x, vmaps) for x in examples])
                asked = all_examples(found[0], vmaps)
            return [asked.any()]

        def step(*examples: Tensor) -> Tensors:
            with inside_of_transforms(stack):
                old = [one_example(x, vmaps) for x in examples]
                goes_on = predicate(*old)[0]
                new = [torch.where(goes_on, x, y) for x, y in zip(body(*old), old, strict=True)]
                return [all_examples(x, vmaps) for x in new]

        found = repeat(holds, step, given)
    return None if found is None else [one_example(x, vmaps) for x in found]
