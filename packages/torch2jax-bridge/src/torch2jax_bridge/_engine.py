"""Derived functions as PyTorch code."""

from collections.abc import Callable
from functools import singledispatch

import torch

from torch2jax_bridge._runtime import Tensors
from torch2jax_bridge._specs import Function, Indices, Jvp, Spec, Vjp, Vmap

Call = Callable[..., Tensors]


def compile_spec(spec: Spec) -> Call:
    """The PyTorch function of flat tensors that a `Spec` stands for."""
    if _only_reverse(spec):
        return _reverse(spec, graph=False)
    return _functional(spec)


@singledispatch
def _functional(spec: Spec) -> Call:
    raise TypeError(f"no PyTorch code for {type(spec).__name__}")


@_functional.register
def _(spec: Function) -> Call:
    return spec.call


@_functional.register
def _(spec: Jvp) -> Call:
    inner, count = _functional(spec.inner), len(spec.inner.ins)

    def call(*args: torch.Tensor) -> Tensors:
        primals, tangents = args[:count], args[count:]
        closed = _close(inner, primals, spec.wrt, spec.of)
        return torch.func.jvp(closed, tuple(primals[i] for i in spec.wrt), tangents)[1]

    return call


@_functional.register
def _(spec: Vjp) -> Call:
    inner, count = _functional(spec.inner), len(spec.inner.ins)

    def call(*args: torch.Tensor) -> Tensors:
        primals, cotangents = args[:count], tuple(map(_conj, args[count:]))
        closed = _close(inner, primals, spec.wrt, spec.of)
        _, pull = torch.func.vjp(closed, *(primals[i] for i in spec.wrt))
        return tuple(map(_conj, pull(cotangents)))

    return call


@_functional.register
def _(spec: Vmap) -> Call:
    in_dims = tuple(0 if batched else None for batched in spec.batched)
    return torch.func.vmap(_functional(spec.inner), in_dims=in_dims)


def _close(inner: Call, primals: Tensors, wrt: Indices, of: Indices) -> Call:
    def closed(*moving: torch.Tensor) -> Tensors:
        args = list(primals)
        for i, value in zip(wrt, moving, strict=True):
            args[i] = value
        outs = inner(*args)
        return tuple(outs[i] for i in of)

    return closed


def _only_reverse(spec: Spec) -> bool:
    while isinstance(spec, Vjp):
        spec = spec.inner
    return isinstance(spec, Function)


def _reverse(spec: Spec, graph: bool) -> Call:
    """Reverse mode by PyTorch's own autograd, which is faster than `torch.func.vjp` and takes
    every `torch.autograd.Function`; `graph` when the result is to be differentiated again."""
    if not isinstance(spec, Vjp):
        return _functional(spec)
    inner, count = _reverse(spec.inner, graph=True), len(spec.inner.ins)

    def call(*args: torch.Tensor) -> Tensors:
        primals = list(args[:count])
        with torch.enable_grad():
            for i in spec.wrt:
                primals[i] = _watched(primals[i])
            outs = inner(*primals)
            return pull_back(outs, primals, args[count:], spec, graph)

    return call


def pull_back(
    outs: Tensors, primals: list[torch.Tensor], cotangents: Tensors, spec: Vjp, graph: bool
) -> Tensors:
    """Cotangents of the `wrt` primals from the cotangents of the `of` results.

    Results that do not depend on any primal are left out, primals without influence get zeros.
    """
    pairs = [
        (outs[i], _conj(ct))
        for i, ct in zip(spec.of, cotangents, strict=True)
        if outs[i].requires_grad
    ]
    wanted = [primals[i] for i in spec.wrt]
    if not pairs:
        return tuple(map(torch.zeros_like, wanted))
    results, given = zip(*pairs, strict=True)
    grads = torch.autograd.grad(results, wanted, given, create_graph=graph, allow_unused=True)
    zipped = zip(grads, wanted, strict=True)
    return tuple(torch.zeros_like(x) if g is None else _conj(g) for g, x in zipped)


def _watched(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.requires_grad else tensor.detach().requires_grad_()


def _conj(tensor: torch.Tensor) -> torch.Tensor:
    """JAX pairs cotangents with values without conjugation, PyTorch with it."""
    return tensor.conj() if tensor.is_complex() else tensor
