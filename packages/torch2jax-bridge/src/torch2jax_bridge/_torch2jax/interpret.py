"""Derived functions as PyTorch code."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache, singledispatch
from typing import Any

import torch

from pax_tree._forward_level import forward_level
from torch2jax_bridge._avals import Indices, Tensors, pick
from torch2jax_bridge._compat import map_tensors
from torch2jax_bridge._runtime.generators import refusing_draws
from torch2jax_bridge._torch2jax.derived import Jvp, SaveResiduals, Spec, UseResiduals, Vjp, Vmap
from torch2jax_bridge._torch2jax.function import Function
from torch2jax_bridge._torch2jax.recording import Recording, gradients

Call = Callable[..., Tensors]


def torch_code_of(spec: Spec) -> Callable[..., Any]:
    """Return the PyTorch function of flat tensors that a `Spec` stands for.

    Args:
        spec: the function.

    Raises:
        TypeError: the function draws random numbers, and a derivative would draw others.
    """
    if isinstance(spec, SaveResiduals):
        return _forward(spec)
    if isinstance(spec, UseResiduals):
        return _with_residuals(spec)
    check_repeatable(spec)
    if isinstance(spec, Function):
        return spec.direct
    call = _reverse(spec, graph=False) if _only_reverse(spec) else _functional(spec)
    if spec.root.random is None and _runs_again(spec):
        return refusing_draws(call, _NOT_REPEATABLE.format(spec.root))
    return call


@singledispatch
def _functional(spec: Spec) -> Call:
    raise TypeError(f"There is no PyTorch code for {type(spec).__name__}.")


@_functional.register
def _(spec: Function) -> Call:
    return spec.pure


@cache
def _load_forward_mode() -> None:
    """Let PyTorch load its forward-mode rules now, and keep its own deprecation to itself."""
    with warnings.catch_warnings(), forward_level():
        warnings.filterwarnings("ignore", ".*torch.jit.script. is deprecated")  # in two categories
        zero = torch.zeros(())
        torch.func.jvp(torch.neg, (zero,), (zero,))


@_functional.register
def _(spec: Jvp) -> Call:
    _load_forward_mode()
    inner, count = _functional(spec.inner), len(spec.inner.ins)

    def call(*args: torch.Tensor) -> Tensors:
        primals, tangents = args[:count], args[count:]
        closed = _close(inner, primals, spec.wrt, spec.of)
        with forward_level():
            return torch.func.jvp(closed, pick(primals, spec.wrt), tangents)[1]

    return call


@_functional.register
def _(spec: Vjp) -> Call:
    inner, count = _functional(spec.inner), len(spec.inner.ins)

    def call(*args: torch.Tensor) -> Tensors:
        primals, cotangents = args[:count], tuple(map(_conj, args[count:]))
        closed = _close(inner, primals, spec.wrt, spec.of)
        pulled = torch.func.vjp(closed, *pick(primals, spec.wrt))[1](cotangents)
        return tuple(map(_conj, pulled))

    return call


@_functional.register
def _(spec: Vmap) -> Call:
    options = spec.root.options
    # With one key for the whole batch, each example draws what it would draw alone.
    randomness = "same" if options.keyed else options.randomness
    inner, axes = _functional(spec.inner), tuple(0 if on else None for on in spec.batched)

    def call(*tensors: torch.Tensor) -> Tensors:
        try:
            return map_tensors(inner, tensors, axes, spec.size, randomness)
        except RuntimeError as error:
            if any(text in str(error) for text in _SAID_OF_BATCHES):
                raise RuntimeError(_NOT_BATCHED.format(spec.root, error)) from error
            raise

    return call


_SAID_OF_BATCHES = ("NYI", "atching rule not implemented", "Tensor.requires_grad_()")
_NOT_BATCHED = (
    "{} has an operation that PyTorch's vmap cannot do ({}); "
    "torch2jax(..., vmap_method='sequential') calls it for one element after the other."
)


def _close(inner: Call, primals: Tensors, wrt: Indices, of: Indices) -> Call:
    def closed(*moving: torch.Tensor) -> Tensors:
        args = list(primals)
        for i, value in zip(wrt, moving, strict=True):
            args[i] = value
        return pick(inner(*args), of)

    return closed


def _only_reverse(spec: Spec) -> bool:
    while isinstance(spec, Vjp):
        spec = spec.inner
    return isinstance(spec, Function)


def _reverse(spec: Spec, graph: bool) -> Call:
    """Reverse mode by PyTorch's own autograd, which is faster than `torch.func.vjp` and takes
    every `torch.autograd.Function`; `graph` when the result is to be differentiated again.
    """
    if not isinstance(spec, Vjp):
        return _functional(spec)
    inner, count = _reverse(spec.inner, graph=True), len(spec.inner.ins)

    def call(*args: torch.Tensor) -> Tensors:
        with Recording() as recording:
            primals, outs = _recorded(inner, args[:count], spec.wrt)
            grads = _pull_back(outs, primals, args[count:], spec, recording.kept, graph)
        if not graph:
            recording.end()
        return grads

    return call


def _recorded(inner: Call, args: Tensors, wrt: Indices) -> tuple[list[torch.Tensor], Tensors]:
    """Return the arguments, of which those in `wrt` require gradients, and the results for them."""
    primals = list(args)
    for i in wrt:
        if not primals[i].requires_grad:
            primals[i] = primals[i].detach().requires_grad_()
    return primals, inner(*primals)


def _pull_back(
    outs: Tensors,
    primals: list[torch.Tensor],
    cotangents: Tensors,
    spec: Vjp,
    kept: Sequence[Any],
    graph: bool = False,
) -> Tensors:
    """Cotangents of the `wrt` primals from the cotangents of the `of` results.

    Results that do not depend on any primal are left out, primals without influence get zeros.
    """
    pairs = [
        (outs[i], _conj(ct))
        for i, ct in zip(spec.of, cotangents, strict=True)
        if outs[i].requires_grad
    ]
    wanted = pick(primals, spec.wrt)
    if not pairs:
        return tuple(map(torch.zeros_like, wanted))
    results, given = zip(*pairs, strict=True)
    grads = gradients(results, wanted, given, graph, kept)
    zipped = zip(grads, wanted, strict=True)
    return tuple(torch.zeros_like(x) if g is None else _conj(g) for g, x in zipped)


def _forward(spec: SaveResiduals) -> Call:
    inner, slot = _functional(spec.inner), spec.slot

    def call(*args: torch.Tensor) -> Tensors:
        copies = slot.arguments(args)
        with Recording() as recording:
            primals, outs = _recorded(inner, tuple(copies) or args, spec.wrt)
        token = slot.save(args, primals, outs, copies, recording)
        return (*(out.detach() for out in outs), token)

    return call


def _with_residuals(spec: UseResiduals) -> Call:
    derived, at = spec.inner, spec.token
    again = torch_code_of(derived) if _repeatable(spec) else None

    def call(*args: torch.Tensor) -> Tensors:
        primals, rest = args[:at], args[at + 1 :]
        if isinstance(derived, Vjp):
            found = spec.slot.take(args[at], primals)
            if found is not None:
                kept = found.recording.kept
                grads = _pull_back(found.outs, found.primals, rest, derived, kept)
                found.recording.end()
                return grads
        if again is None:
            raise RuntimeError(_NOT_REPEATABLE.format(spec.root))
        return again(*primals, *rest)

    return call


_NOT_REPEATABLE = (
    "{} draws random numbers, and this derivative would run it again with others; only one backward "
    "pass for each forward pass sees the same ones: pass rng= to a module, or draw the numbers with "
    "jax.random and pass them as arguments."
)


def _repeatable(spec: Spec) -> bool:
    """Whether a derivative may run the wrapped function again."""
    return not (spec.root.random and _runs_again(spec))


def _runs_again(spec: Spec) -> bool:
    """Whether a derivative runs the wrapped function, which the program runs for its results too."""
    while not isinstance(spec, Function):
        if isinstance(spec, Jvp | Vjp):
            return True
        spec = spec.inner
    return False


def check_repeatable(spec: Spec) -> None:
    """Raise for a derivative whose random numbers would differ from the function's own."""
    if not _repeatable(spec):
        raise TypeError(_NOT_REPEATABLE.format(spec.root))


def _conj(tensor: torch.Tensor) -> torch.Tensor:
    """JAX pairs cotangents with values without conjugation, PyTorch with it."""
    return tensor.conj() if tensor.is_complex() else tensor
