"""JAX functions of flat arrays, and what derivatives and batching make of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import ShapeDtypeStruct
from jax.extend.core import jaxpr_as_fun

from torch2jax_bridge._avals import Indices, has_torch_dtype, is_differentiable, pick

Array = jax.Array
Numbers = tuple[bool | int | float | complex, ...]
Call = Callable[..., tuple[jax.Array, ...]]
Dims = tuple[int | None, ...]


class Program:
    """A function of Python numbers and flat arrays, compiled once.

    What is derived from a program is made once too, and is owned by it.

    Attributes:
        name: how messages call it.
        call: `(numbers, *arrays)` to a tuple of arrays, traceable.
        ins: the shape and dtype of each array.
        numbers: numbers of the right types, of any values.
        x64: the setting of `jax_enable_x64` that it is traced and run with.
        has_residuals: whether residuals for the backward pass follow the results.
        saved: the results that the backward pass needs.
        key: what names it in PyTorch's graphs, if it is in one.
    """

    has_residuals = False
    saved: Indices = ()

    def __init__(
        self, name: str, call: Call, ins: Sequence[ShapeDtypeStruct], numbers: Numbers, x64: bool
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
    def outs(self) -> tuple[ShapeDtypeStruct, ...]:
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

    def is_in_graph(self) -> bool:
        """Say whether a graph of PyTorch's names the program, or one that is derived from it."""
        return self.key is not None or any(made.is_in_graph() for made in self._derived.values())

    def like(self, name: str, call: Call, ins: Sequence[ShapeDtypeStruct]) -> Program:
        """Another program with the same settings."""
        return Program(f"{name} of {self.name}", call, ins, self.numbers, self.x64)

    def jvp(self, wrt: Indices, of: Indices) -> Program:
        """(arrays, tangents of `wrt`) to the tangents of `of`."""
        return self.derive(("jvp", wrt, of), lambda: _jvp(self, wrt, of))

    def vjp(self, wrt: Indices, of: Indices) -> Program:
        """(arrays, cotangents of `of`) to those of `wrt`, both conjugated as PyTorch has them."""
        return self.derive(("vjp", wrt, of), lambda: _vjp(self, wrt, of))

    def vmap(self, dims: Dims, size: int) -> Program:
        """Return the program over a batch, which is the first dimension of every result."""
        return self.derive(("vmap", dims, size), lambda: Batch(self, dims, size))

    def backward(self, wrt: Indices, of: Indices) -> tuple[Program, Indices]:
        """Return the backward pass, and which of the arrays and saved results it takes first."""
        return self.vjp(wrt, of), tuple(range(len(self.ins)))

    def with_residuals(self, wrt: Indices) -> Program:
        """Return the program with residuals after its results, for a backward pass for `wrt`.

        It is the program itself where a residual has a dtype that PyTorch lacks.
        """
        if self.has_residuals:
            return self

        def make() -> Program:
            made = ProgramWithResiduals(self, wrt)
            return made if all(has_torch_dtype(out.dtype) for out in made.outs) else self

        return self.derive(("residuals", wrt), make)


class Batch(Program):
    """A program over a batch; the backward pass of one with residuals is the program's, batched."""

    def __init__(self, inner: Program, dims: Dims, size: int) -> None:
        self._inner, self._dims, self._size = inner, dims, size
        self.has_residuals, self.saved = inner.has_residuals, inner.saved
        call = jax.vmap(inner.call, in_axes=(None, *dims), axis_size=size)
        ins = [_batched(aval, dim, size) for aval, dim in zip(inner.ins, dims, strict=True)]
        super().__init__(f"the batch of {inner.name}", call, ins, inner.numbers, inner.x64)

    def backward(self, wrt: Indices, of: Indices) -> tuple[Program, Indices]:
        if not self.has_residuals:
            return super().backward(wrt, of)
        inner, places = self._inner.backward(wrt, of)
        return self.derive(("pull", wrt, of), lambda: self._pull(inner, places, wrt)), places

    def _pull(self, inner: Program, places: Indices, wrt: Indices) -> Program:
        fixed = len(self.ins)
        dims = [self._dims[i] if i < fixed else 0 for i in places]
        dims += [0] * (len(inner.ins) - len(places))
        mapped = inner.vmap(tuple(dims), self._size)

        def call(numbers: Numbers, *arrays: Array) -> tuple[Array, ...]:
            grads = mapped.call(numbers, *arrays)
            return tuple(
                grad.sum(0) if dim is None else jnp.moveaxis(grad, 0, dim)
                for grad, dim in zip(grads, pick(self._dims, wrt), strict=True)
            )

        return self.like("the backward pass", call, mapped.ins)


class ProgramWithResiduals(Program):
    """A program with residuals after its results.

    Residuals that are arguments or results already are not made twice. All results have
    derivatives of their own, residuals among them: so the backward pass, a function of residuals,
    can be differentiated again without a word about where they come from.
    """

    has_residuals = True

    def __init__(self, base: Program, wrt: Indices) -> None:
        self._base = base
        self._wrt = wrt
        self._layout: Any = None
        name = f"{base.name} with residuals"
        call = traced(self._forward, base.numbers, base.ins, base.x64)
        super().__init__(name, call, base.ins, base.numbers, base.x64)
        # What the backward pass needs, by place among (arrays, results, residuals).
        self._used: Indices = tuple(sorted(set(self._layout.sources)))
        self.saved = tuple(i - len(self.ins) for i in self._used if i >= len(self.ins))

    def backward(self, wrt: Indices, of: Indices) -> tuple[Program, Indices]:
        if not set(wrt) <= set(self._wrt) or any(i >= len(self._base.outs) for i in of):
            return super().backward(wrt, of)
        made = self.derive(("pull", wrt, of), lambda: self._pull(wrt, of))
        fixed = tuple(i for i in self._used if i < len(self.ins))
        return made, (*fixed, *range(len(self.ins), len(self.ins) + len(self.saved)))

    def _forward(self, numbers: Numbers, *arrays: Array) -> tuple[Array, ...]:
        outs, pull = _pullback(self._base, numbers, arrays, self._wrt, self._base.moving_outs)
        leaves, treedef = jax.tree.flatten(pull)
        self._layout = _pullback_layout(treedef, leaves, (*arrays, *outs))
        first = len(arrays) + len(outs)
        kept = {i: x for i, x in zip(self._layout.sources, leaves, strict=True) if i >= first}
        return (*outs, *(_plain(kept[i]) for i in sorted(kept)))

    def _pull(self, wrt: Indices, of: Indices) -> Program:
        layout, used = self._layout, self._used
        order = {place: i for i, place in enumerate(used)}
        first = len(self.ins) + len(self._base.outs)

        def leaf(place: int, arrays: Sequence[Array]) -> Array:
            impl = layout.impls[place - first] if place >= first else None
            array = arrays[order[place]]
            return array if impl is None else jax.random.wrap_key_data(array, impl=impl)

        def call(numbers: Numbers, *arrays: Array) -> tuple[Array, ...]:
            leaves = [leaf(place, arrays) for place in layout.sources]
            given = dict(zip(of, _conjugated(arrays[len(used) :]), strict=True))
            cotangents = tuple(
                given[i] if i in given else jnp.zeros(self.outs[i].shape, self.outs[i].dtype)
                for i in self._base.moving_outs
            )
            grads = jax.tree.unflatten(layout.treedef, leaves)(cotangents)
            return _conjugated(pick(grads, tuple(self._wrt.index(i) for i in wrt)))

        ins = (*pick((*self.ins, *self.outs), used), *pick(self.outs, of))
        return self.like("the backward pass", call, ins)


class PullbackLayout(NamedTuple):
    """The backward pass as a pytree whose leaves are found elsewhere.

    Attributes:
        treedef: its structure.
        sources: for each leaf its place among (arrays, results, residuals).
        impls: for each residual how to make a typed random key of it, or `None`.
    """

    treedef: Any
    sources: Indices
    impls: tuple[Any, ...]


def _pullback_layout(treedef: Any, leaves: Sequence[Array], known: Sequence[Array]) -> Any:
    places: dict[int, int] = {}
    for i, array in enumerate(known):
        places.setdefault(id(array), i)
    sources: list[int] = []
    impls: list[Any] = []
    for leaf in leaves:
        if id(leaf) not in places:
            places[id(leaf)] = len(known) + len(impls)
            impls.append(_impl(leaf))
        sources.append(places[id(leaf)])
    return PullbackLayout(treedef, tuple(sources), tuple(impls))


def _impl(leaf: Array) -> Any:
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_impl(leaf) if is_key else None


def _plain(leaf: Array) -> Array:
    return leaf if _impl(leaf) is None else jax.random.key_data(leaf)


def traced(call: Call, numbers: Numbers, ins: Sequence[ShapeDtypeStruct], x64: bool) -> Call:
    """Return the function as it is when traced now, once and for all."""
    with jax.enable_x64(x64):
        flat = jaxpr_as_fun(jax.make_jaxpr(call)(numbers, *ins))
    return lambda numbers, *arrays: tuple(flat(*numbers, *arrays))


def _jvp(program: Program, wrt: Indices, of: Indices) -> Program:
    count = len(program.ins)

    def call(numbers: Numbers, *arrays: Array) -> tuple[Array, ...]:
        primals, tangents = arrays[:count], arrays[count:]
        moving = _partially(program, numbers, primals, wrt, of)
        jvp: Any = jax.jvp
        return jvp(moving, pick(primals, wrt), tangents, has_aux=True)[1]

    return program.like("the tangents", call, program.ins + pick(program.ins, wrt))


def _vjp(program: Program, wrt: Indices, of: Indices) -> Program:
    count = len(program.ins)

    def call(numbers: Numbers, *arrays: Array) -> tuple[Array, ...]:
        primals, cotangents = arrays[:count], arrays[count:]
        _, pull = _pullback(program, numbers, primals, wrt, of)
        return _conjugated(pull(_conjugated(cotangents)))

    return program.like("the gradients", call, program.ins + pick(program.outs, of))


def _pullback(
    program: Program, numbers: Numbers, arrays: Sequence[Array], wrt: Indices, of: Indices
) -> tuple:
    """All results, and the function from JAX's cotangents of `of` to those of `wrt`."""
    vjp: Any = jax.vjp
    moving = _partially(program, numbers, arrays, wrt, of)
    _, pull, outs = vjp(moving, *pick(arrays, wrt), has_aux=True)
    return outs, pull


def _partially(
    program: Program, numbers: Numbers, arrays: Sequence[Array], wrt: Indices, of: Indices
) -> Call:
    """Return the program's function of `wrt` alone, with `of` as its results and all of them beside."""

    def of_some(*moving: Array) -> Any:
        full = list(arrays)
        for i, array in zip(wrt, moving, strict=True):
            full[i] = array
        outs = program.call(numbers, *full)
        return pick(outs, of), outs

    return of_some


def _conjugated(arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Cotangents in the other convention: PyTorch's are the conjugates of JAX's."""
    return tuple(map(jnp.conj, arrays))


def _batched(aval: ShapeDtypeStruct, dim: int | None, size: int) -> ShapeDtypeStruct:
    """Return the array with a batch at a dimension."""
    if dim is None:
        return aval
    return ShapeDtypeStruct((*aval.shape[:dim], size, *aval.shape[dim:]), aval.dtype)


def _differentiable(avals: Sequence[ShapeDtypeStruct]) -> Indices:
    return tuple(i for i, aval in enumerate(avals) if is_differentiable(aval.dtype))
