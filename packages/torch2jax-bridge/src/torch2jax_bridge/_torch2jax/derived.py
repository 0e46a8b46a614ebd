"""The functions that the primitive can call: a wrapped one, and what transformations derive from it.

Each is hashable and knows the shapes of its arguments and results. A derived function carries the
function it comes from; `interpret` turns it into PyTorch code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch2jax_bridge._avals import TOKEN, Aval, Indices, is_differentiable, pick
from torch2jax_bridge._torch2jax.function import Function
from torch2jax_bridge._torch2jax.residuals import ResidualSlot


class Derived:
    """What the derived functions share.

    Each is linear in its last `linear` arguments. `restrict` is the same function of fewer of
    these, the others being zero; `transpose` is the transpose with respect to some of them, for
    cotangents of some of the results.
    """

    inner: Any

    @cached_property
    def root(self) -> Function:
        return self.inner.root


@dataclass(frozen=True)
class Jvp(Derived):
    """(primals, tangents of `wrt`) -> tangents of `of`, as in `jax.jvp`."""

    inner: Spec
    wrt: Indices
    of: Indices

    @cached_property
    def ins(self) -> tuple[Aval, ...]:
        return self.inner.ins + pick(self.inner.ins, self.wrt)

    @cached_property
    def outs(self) -> tuple[Aval, ...]:
        return pick(self.inner.outs, self.of)

    @property
    def linear(self) -> int:
        return len(self.wrt)

    def restrict(self, args: Indices) -> Jvp:
        return Jvp(self.inner, pick(self.wrt, args), self.of)

    def transpose(self, args: Indices, outs: Indices) -> Vjp:
        return Vjp(self.inner, pick(self.wrt, args), pick(self.of, outs))


@dataclass(frozen=True)
class Vjp(Derived):
    """(primals, cotangents of `of`) -> cotangents of `wrt`, as in `jax.vjp`."""

    inner: Spec
    wrt: Indices
    of: Indices

    @cached_property
    def ins(self) -> tuple[Aval, ...]:
        return self.inner.ins + pick(self.inner.outs, self.of)

    @cached_property
    def outs(self) -> tuple[Aval, ...]:
        return pick(self.inner.ins, self.wrt)

    @property
    def linear(self) -> int:
        return len(self.of)

    def restrict(self, args: Indices) -> Vjp:
        return Vjp(self.inner, self.wrt, pick(self.of, args))

    def transpose(self, args: Indices, outs: Indices) -> Jvp:
        return Jvp(self.inner, pick(self.wrt, outs), pick(self.of, args))


@dataclass(frozen=True)
class Vmap(Derived):
    """The function mapped over axis 0 of the arguments marked in `batched`, as in `jax.vmap`.

    A linear function stays one: its transpose is the mapped transpose, whose results for
    arguments that were not batched still have to be summed over the batch.
    """

    inner: Spec
    batched: tuple[bool, ...]
    size: int

    def _grow(self, aval: Aval) -> Aval:
        return Aval((self.size, *aval.shape), aval.dtype)

    @cached_property
    def ins(self) -> tuple[Aval, ...]:
        pairs = zip(self.inner.ins, self.batched, strict=True)
        return tuple(self._grow(aval) if batched else aval for aval, batched in pairs)

    @cached_property
    def outs(self) -> tuple[Aval, ...]:
        return tuple(map(self._grow, self.inner.outs))

    @property
    def linear(self) -> int:
        return self.inner.linear

    @property
    def _split(self) -> int:
        return len(self.batched) - self.linear

    def restrict(self, args: Indices) -> Vmap:
        tail = pick(self.batched[self._split :], args)
        inner = _derived(self.inner).restrict(args)
        return Vmap(inner, self.batched[: self._split] + tail, self.size)

    def transpose(self, args: Indices, outs: Indices) -> Vmap:
        batched = self.batched[: self._split] + (True,) * len(outs)
        return Vmap(_derived(self.inner).transpose(args, outs), batched, self.size)


@dataclass(frozen=True)
class SaveResiduals(Derived):
    """The function itself or a batch of it, which leaves what its `Vjp` needs, and a token as last result.

    The token names one run: the pull-back of another run does not find what this one left.
    """

    inner: Spec
    wrt: Indices
    slot: ResidualSlot
    linear = 0

    @property
    def ins(self) -> tuple[Aval, ...]:
        return self.inner.ins

    @cached_property
    def outs(self) -> tuple[Aval, ...]:
        return (*self.inner.outs, TOKEN)


@dataclass(frozen=True)
class UseResiduals(Derived):
    """(primals, token, linear arguments): as `inner`, with the help of what `SaveResiduals` has left."""

    inner: Jvp | Vjp
    slot: ResidualSlot

    @property
    def token(self) -> int:
        """The position of the token among the arguments."""
        return len(self.inner.inner.ins)

    @cached_property
    def ins(self) -> tuple[Aval, ...]:
        ins = self.inner.ins
        return (*ins[: self.token], TOKEN, *ins[self.token :])

    @property
    def outs(self) -> tuple[Aval, ...]:
        return self.inner.outs

    @property
    def linear(self) -> int:
        return self.inner.linear

    def restrict(self, args: Indices) -> UseResiduals:
        return UseResiduals(self.inner.restrict(args), self.slot)

    def transpose(self, args: Indices, outs: Indices) -> UseResiduals:
        return UseResiduals(self.inner.transpose(args, outs), self.slot)


Linear = Jvp | Vjp | Vmap | UseResiduals
Spec = Function | Linear | SaveResiduals


def _derived(spec: Spec) -> Linear:
    if isinstance(spec, Function | SaveResiduals):
        raise TypeError(f"{spec} is not linear in any of its arguments.")
    return spec


def differentiable_outs(spec: Spec) -> Indices:
    """Return the results that have tangents."""
    return tuple(i for i, out in enumerate(spec.outs) if is_differentiable(out.dtype))


def is_forward(spec: Spec) -> bool:
    """Whether a call runs the function for its results: itself, or for a batch."""
    while isinstance(spec, Vmap):
        spec = spec.inner
    return isinstance(spec, Function)


def draws(spec: Spec) -> bool | None:
    """Whether a call draws random numbers without a key; None if that is not known.

    What uses residuals does not run the function, and derivatives that do are refused.
    """
    while isinstance(spec, Vmap | SaveResiduals):
        spec = spec.inner
    return spec.random if isinstance(spec, Function) else False


def with_root(spec: Spec, root: Function) -> Spec:
    """Return the same derived function of another function."""
    if isinstance(spec, Function):
        return root
    return replace(spec, inner=with_root(spec.inner, root))
