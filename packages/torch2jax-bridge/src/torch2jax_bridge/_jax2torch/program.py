"""JAX functions of flat arrays, and what derivatives and batching make of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import jaxpr_as_fun

from torch2jax_bridge._avals import has_torch_dtype, is_differentiable

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
