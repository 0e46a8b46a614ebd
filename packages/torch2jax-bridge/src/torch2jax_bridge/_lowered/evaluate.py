"""A recorded program in JAX operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from pax_tree import tree_map
from torch2jax_bridge._avals import canonical
from torch2jax_bridge._convert import t2j
from torch2jax_bridge._lowered.called import Called
from torch2jax_bridge._lowered.program import Meta, Program, Ref, Step, refs, replaced
from torch2jax_bridge._lowered.registry import Rule, rule_for

Compute = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Computed:
    """A step and how it is computed.

    Attributes:
        step: the step.
        rule: the rule in JAX operations; None if the operator is called in PyTorch.
        compute: takes the step's arguments, with arrays.
        result: what each result is to be, in JAX.
    """

    step: Step
    rule: Rule | None
    compute: Compute
    result: Any


class Evaluator:
    """A recorded program as a function of flat arrays.

    Args:
        program: the program.
        keyed: whether the first array is a key, for the operators that draw random numbers.
    """

    def __init__(self, program: Program, keyed: bool) -> None:
        self._program = program
        self._keyed = keyed
        self._constants = {
            ref: t2j(tensor.detach(), copy=True) for ref, tensor in program.constants.items()
        }
        used = {*program.outs, *(r for s in program.steps for r in refs((s.args, s.kwargs)))}
        self.steps = [_computed(step, program.metas, used) for step in program.steps]

    def __call__(self, *arrays: jax.Array) -> list[jax.Array]:
        program = self._program
        values: dict[Ref, Any] = {**self._constants}
        values.update(zip(program.inputs, arrays, strict=True))
        key = jax.random.wrap_key_data(arrays[0]) if self._keyed else None
        for number, computed in enumerate(self.steps):
            step = computed.step
            drawn = jax.random.fold_in(key, number) if step.draws and key is not None else None
            with jax.named_scope(step.scope) if step.scope else nullcontext():
                self._step(computed, values, drawn)
        return [_as(values[ref], _aval(program.metas[ref])) for ref in program.outs]

    def _step(self, computed: Computed, values: dict[Ref, Any], key: Any) -> None:
        step = computed.step
        args, kwargs = (
            replaced(given, values.__getitem__, Ref) for given in (step.args, step.kwargs)
        )
        if step.constant:
            args, kwargs = tree_map(_stopped, (args, kwargs))
        if computed.rule is not None and computed.rule.takes_result:
            kwargs = {**kwargs, "result": computed.result}
        if step.draws and (computed.rule is None or computed.rule.takes_key):
            kwargs = {**kwargs, "key": key}
        results = computed.compute(*args, **kwargs)
        _put(values, step.results, results, step)


def _computed(step: Step, metas: Mapping[Ref, Meta], used: Set[Ref]) -> Computed:
    result = tree_map(lambda ref: _aval(metas[ref]), step.results, is_leaf=_is_ref)
    rule = rule_for(step.name)
    if rule is not None and rule.unless is not None and rule.unless(*step.args, **step.kwargs):
        rule = None
    compute = Called(step, metas, used) if rule is None else rule.function
    return Computed(step, rule, compute, result)


def _is_ref(value: Any) -> bool:
    return isinstance(value, Ref)


def _aval(meta: Meta) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(meta.shape, canonical(meta.dtype))


def _stopped(value: Any) -> Any:
    return jax.lax.stop_gradient(value) if isinstance(value, jax.Array) else value


def _put(values: dict[Ref, Any], places: Any, results: Any, step: Step) -> None:
    """Put the results of a step where later steps look for them."""
    metas = dict(zip(refs(places), step.metas, strict=True))
    if isinstance(places, Ref):
        places, results = (places,), (results,)
    for place, result in zip(places, results, strict=True):
        for ref, value in _pairs(place, result):
            if value is not None:
                values[ref] = _checked(value, metas[ref], step)


def _pairs(place: Any, result: Any) -> Sequence[tuple[Ref, Any]]:
    if isinstance(place, Ref):
        return [(place, result)]
    if place is None:
        return []
    return [pair for both in zip(place, result, strict=True) for pair in _pairs(*both)]


def _checked(value: Any, meta: Meta, step: Step) -> jax.Array:
    array = _as(value, _aval(meta))
    if array.shape != meta.shape:
        raise TypeError(
            f"The rule for {step.name} gave the shape {array.shape}; PyTorch's is {meta.shape}."
        )
    return array


def _as(value: Any, aval: jax.ShapeDtypeStruct) -> jax.Array:
    array = jnp.asarray(value)
    return array if array.dtype == aval.dtype else cast(array, aval.dtype)


def cast(array: jax.Array, dtype: Any) -> jax.Array:
    """Return an array in another dtype; of complex numbers the real part, as PyTorch does."""
    if jnp.issubdtype(array.dtype, jnp.complexfloating) and not jnp.issubdtype(
        dtype, jnp.complexfloating
    ):
        array = array != 0 if dtype == jnp.bool_ else array.real
    return array.astype(dtype)
