"""What a forward pass of a JAX function keeps for its backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from torch2jax_bridge._dtypes import has_torch_dtype
from torch2jax_bridge._jax2torch_program import (
    Array,
    Indices,
    Numbers,
    Program,
    batched,
    conjugated,
    pick,
    pullback,
    traced,
)


def keeping(program: Program, wrt: Indices) -> Program:
    """Return the program with residuals after its results, for a backward pass for `wrt`.

    It is the program itself where a residual has a dtype that PyTorch lacks.
    """
    if isinstance(program, Keeping | Batched):
        return program
    return program.derive(("keeping", wrt), lambda: _keeping(program, wrt))


def _keeping(program: Program, wrt: Indices) -> Program:
    made = Keeping(program, wrt)
    return made if all(has_torch_dtype(out.dtype) for out in made.outs) else program


class Layout(NamedTuple):
    """The backward pass as a pytree whose leaves are found elsewhere.

    Attributes:
        treedef: its structure.
        sources: for each leaf its place among (arrays, results, residuals).
        impls: for each residual how to make a typed random key of it, or `None`.
    """

    treedef: Any
    sources: Indices
    impls: tuple[Any, ...]


class Keeping(Program):
    """A program with residuals after its results.

    Residuals that are arguments or results already are not made twice. All results have
    derivatives of their own, residuals among them: so the backward pass, a function of residuals,
    can be differentiated again without a word about where they come from.
    """

    def __init__(self, base: Program, wrt: Indices) -> None:
        self._base = base
        self._wrt = wrt
        self._layout: Any = None
        name = f"{base.name} with residuals"
        call = traced(self._forward, base.numbers, base.ins, base.x64)
        super().__init__(name, call, base.ins, base.numbers, base.x64)

    @property
    def saved(self) -> Indices:  # type: ignore[override]
        return tuple(i - len(self.ins) for i in self._used if i >= len(self.ins))

    def backward(self, wrt: Indices, of: Indices) -> tuple[Program, Indices]:
        results = len(self._base.outs)
        if not set(wrt) <= set(self._wrt) or any(i >= results for i in of):
            return super().backward(wrt, of)
        made = self.derive(("pull", wrt, of), lambda: self._pull(wrt, of))
        fixed, count = len(self.ins), 0
        places = []
        for i in self._used:
            places.append(i if i < fixed else fixed + count)
            count += i >= fixed
        return made, tuple(places)

    @property
    def _used(self) -> Indices:
        """What the backward pass needs, by place among (arrays, results, residuals)."""
        return tuple(sorted(set(self._layout.sources)))

    def _forward(self, numbers: Numbers, *arrays: Array) -> tuple[Array, ...]:
        base = self._base
        outs, pull = pullback(base.call, numbers, arrays, self._wrt, base.moving_outs)
        leaves, treedef = jax.tree.flatten(pull)
        self._layout = _layout(treedef, leaves, (*arrays, *outs))
        first = len(arrays) + len(outs)
        kept = {i: x for i, x in zip(self._layout.sources, leaves, strict=True) if i >= first}
        return (*outs, *(_plain(kept[i]) for i in sorted(kept)))

    def _pull(self, wrt: Indices, of: Indices) -> Program:
        layout, used = self._layout, self._used
        shapes = (*self.ins, *self.outs)
        moving = self._base.moving_outs
        order = {place: i for i, place in enumerate(used)}
        first = len(self.ins) + len(self._base.outs)

        def leaf(place: int, arrays: Sequence[Array]) -> Array:
            impl = layout.impls[place - first] if place >= first else None
            array = arrays[order[place]]
            return array if impl is None else jax.random.wrap_key_data(array, impl=impl)

        def call(numbers: Numbers, *arrays: Array) -> tuple[Array, ...]:
            leaves = [leaf(place, arrays) for place in layout.sources]
            given = dict(zip(of, conjugated(arrays[len(used) :]), strict=True))
            cotangents = tuple(
                given[i] if i in given else jnp.zeros(self.outs[i].shape, self.outs[i].dtype)
                for i in moving
            )
            grads = jax.tree.unflatten(layout.treedef, leaves)(cotangents)
            return conjugated(pick(grads, tuple(self._wrt.index(i) for i in wrt)))

        ins = (*pick(shapes, used), *pick(self.outs, of))
        return self.like("the backward pass", call, ins)

    def _vmap(self, dims: tuple[int | None, ...], size: int) -> Program:
        return Batched(self, dims, size)


class Batched(Program):
    """A program with residuals over a batch; its backward pass is that of the program, batched."""

    def __init__(self, inner: Program, dims: tuple[int | None, ...], size: int) -> None:
        self._inner, self._dims, self._size = inner, dims, size
        call = jax.vmap(inner.call, in_axes=(None, *dims), axis_size=size)
        ins = [batched(a, dim, size) for a, dim in zip(inner.ins, dims, strict=True)]
        super().__init__(f"the batch of {inner.name}", call, ins, inner.numbers, inner.x64)

    @property
    def saved(self) -> Indices:  # type: ignore[override]
        return self._inner.saved

    def backward(self, wrt: Indices, of: Indices) -> tuple[Program, Indices]:
        inner, places = self._inner.backward(wrt, of)
        return self.derive(("pull", wrt, of), lambda: self._pull(inner, places, wrt)), places

    def _pull(self, inner: Program, places: Indices, wrt: Indices) -> Program:
        fixed = len(self.ins)
        dims = [self._dims[i] if i < fixed else 0 for i in places]
        dims += [0] * (len(inner.ins) - len(places))
        mapped = inner.vmap(tuple(dims), self._size)

        def call(numbers: Numbers, *arrays: Array) -> tuple[Array, ...]:
            grads = mapped.call(numbers, *arrays)
            back = pick(self._dims, wrt)
            return tuple(
                g.sum(0) if dim is None else jnp.moveaxis(g, 0, dim)
                for g, dim in zip(grads, back, strict=True)
            )

        return self.like("the backward pass", call, mapped.ins)

    def _vmap(self, dims: tuple[int | None, ...], size: int) -> Program:
        return Batched(self, dims, size)


def _layout(treedef: Any, leaves: Sequence[Array], known: Sequence[Array]) -> Layout:
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
    return Layout(treedef, tuple(sources), tuple(impls))


def _impl(leaf: Array) -> Any:
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_impl(leaf) if is_key else None


def _plain(leaf: Array) -> Array:
    return leaf if _impl(leaf) is None else jax.random.key_data(leaf)
