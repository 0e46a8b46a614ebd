"""JAX functions of flat arrays, and what derivatives and batching make of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxpr_as_fun

from torch2jax_bridge._dtypes import is_differentiable

Aval = jax.ShapeDtypeStruct
Array = jax.Array
Arrays = Sequence[jax.Array]
Indices = tuple[int, ...]
Numbers = tuple[bool | int | float | complex, ...]
Call = Callable[..., tuple[jax.Array, ...]]


class Program:
    """A function of Python numbers and flat arrays, compiled once.

    What is derived from a program is made once too, and is owned by it.

    Attributes:
        name: how messages call it.
        call: `(numbers, *arrays)` to a tuple of arrays, traceable.
        ins: the shape and dtype of each array.
        numbers: numbers of the right types, of any values.
        x64: the setting of `jax_enable_x64` that it is traced and run with.
        saved: the results that the backward pass needs.
        key: what names it in PyTorch's graphs, if it is in one.
    """

    saved: Indices = ()

    def __init__(
        self, name: str, call: Call, ins: Sequence[Aval], numbers: Numbers, x64: bool
    ) -> None:
        self.name = name
        self.call = call
        self.ins = tuple(ins)
        self.numbers = numbers
        self.x64 = x64
        self.key: str | None = None
        self._derived: dict[Hashable, Program] = {}

    def __repr__(self) -> str:
        return self.name

    @cached_property
    def jitted(self) -> Any:
        """The compiled form of `call`."""
        return jax.jit(self.call)

    @cached_property
    def outs(self) -> tuple[Aval, ...]:
        """The shape and dtype of each result."""
        with jax.enable_x64(self.x64):
            return tuple(self.jitted.eval_shape(self.numbers, *self.ins))

    @cached_property
    def moving_ins(self) -> Indices:
        """The arrays that have derivatives."""
        return _differentiable(self.ins)

    @cached_property
    def moving_outs(self) -> Indices:
        """The results that have derivatives."""
        return _differentiable(self.outs)

    def derive(self, key: Hashable, make: Callable[[], Program]) -> Program:
        """Return what `make` makes, made once for the key."""
        found = self._derived.get(key)
        return self._derived.setdefault(key, make()) if found is None else found

    def like(self, name: str, call: Call, ins: Sequence[Aval]) -> Program:
        """Another program with the same settings."""
        return Program(f"{name} of {self.name}", call, ins, self.numbers, self.x64)

    def jvp(self, wrt: Indices, of: Indices) -> Program:
        """(arrays, tangents of `wrt`) to the tangents of `of`."""
        return self.derive(("jvp", wrt, of), lambda: _jvp(self, wrt, of))

    def vjp(self, wrt: Indices, of: Indices) -> Program:
        """(arrays, cotangents of `of`) to those of `wrt`, both conjugated as PyTorch has them."""
        return self.derive(("vjp", wrt, of), lambda: _vjp(self, wrt, of))

    def vmap(self, dims: tuple[int | None, ...], size: int) -> Program:
        """Return the program over a batch, which is the first dimension of every result."""
        return self.derive(("vmap", dims, size), lambda: self._vmap(dims, size))

    def backward(self, wrt: Indices, of: Indices) -> tuple[Program, Indices]:
        """Return the backward pass, and which of the arrays and saved results it takes first."""
        return self.vjp(wrt, of), tuple(range(len(self.ins)))

    def _vmap(self, dims: tuple[int | None, ...], size: int) -> Program:
        return _vmap(self, dims, size)


def traced(call: Call, numbers: Numbers, ins: Sequence[Aval], x64: bool) -> Call:
    """Return the function as it is when traced now, once and for all."""
    with jax.enable_x64(x64):
        flat = jaxpr_as_fun(jax.make_jaxpr(call)(numbers, *ins))
    return lambda numbers, *arrays: tuple(flat(*numbers, *arrays))


def pick(items: Sequence, indices: Indices) -> tuple:
    """Return the items at the indices."""
    return tuple(items[i] for i in indices)


def partially(call: Call, numbers: Numbers, arrays: Arrays, wrt: Indices, of: Indices) -> Call:
    """Return the program's function of `wrt` alone, with `of` as its results and all of them beside."""

    def of_some(*moving: Array) -> Any:
        full = list(arrays)
        for i, array in zip(wrt, moving, strict=True):
            full[i] = array
        outs = call(numbers, *full)
        return pick(outs, of), outs

    return of_some


def pullback(call: Call, numbers: Numbers, arrays: Arrays, wrt: Indices, of: Indices) -> tuple:
    """All results, and the function from JAX's cotangents of `of` to those of `wrt`."""
    vjp: Any = jax.vjp
    moving = partially(call, numbers, arrays, wrt, of)
    _, pull, outs = vjp(moving, *pick(arrays, wrt), has_aux=True)
    return outs, pull


def conjugated(arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Cotangents in the other convention: PyTorch's are the conjugates of JAX's."""
    return tuple(map(jnp.conj, arrays))


def batched(aval: Aval, dim: int | None, size: int) -> Aval:
    """Return the array with a batch at a dimension."""
    if dim is None:
        return aval
    return Aval((*aval.shape[:dim], size, *aval.shape[dim:]), aval.dtype)


def _differentiable(avals: Sequence[Aval]) -> Indices:
    return tuple(i for i, aval in enumerate(avals) if is_differentiable(aval.dtype))


def _jvp(program: Program, wrt: Indices, of: Indices) -> Program:
    count = len(program.ins)

    def call(numbers: Numbers, *arrays: Array) -> tuple[Array, ...]:
        primals, tangents = arrays[:count], arrays[count:]
        moving = partially(program.call, numbers, primals, wrt, of)
        jvp: Any = jax.jvp
        return jvp(moving, pick(primals, wrt), tangents, has_aux=True)[1]

    return program.like("the tangents", call, program.ins + pick(program.ins, wrt))


def _vjp(program: Program, wrt: Indices, of: Indices) -> Program:
    count = len(program.ins)

    def call(numbers: Numbers, *arrays: Array) -> tuple[Array, ...]:
        primals, cotangents = arrays[:count], arrays[count:]
        _, pull = pullback(program.call, numbers, primals, wrt, of)
        return conjugated(pull(conjugated(cotangents)))

    return program.like("the gradients", call, program.ins + pick(program.outs, of))


def _vmap(program: Program, dims: tuple[int | None, ...], size: int) -> Program:
    call = jax.vmap(program.call, in_axes=(None, *dims), axis_size=size)
    ins = [batched(a, dim, size) for a, dim in zip(program.ins, dims, strict=True)]
    return program.like("the batch", call, ins)
