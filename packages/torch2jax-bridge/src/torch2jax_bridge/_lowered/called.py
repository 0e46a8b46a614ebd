"""Operators that are called in PyTorch from a program in JAX operations."""

from __future__ import annotations

from collections.abc import Mapping, Set
from contextlib import nullcontext
from typing import Any
from weakref import ref

import jax
import torch

from pax_tree import tree_structure
from torch2jax_bridge._avals import Aval, canonical
from torch2jax_bridge._lowered.program import Meta, Ref, Step, refs, replaced
from torch2jax_bridge._runtime.generators import seeded
from torch2jax_bridge._runtime.thread_state import current_settings
from torch2jax_bridge._torch2jax.function import Function, JittedCalls, Options
from torch2jax_bridge._torch2jax.primitive import jitted_call


class _Operator:
    """A step as a PyTorch function of a key, if it draws random numbers, and of its tensors alone.

    JAX has 32 bits where PyTorch has 64: the tensors get PyTorch's dtypes here.
    """

    def __init__(self, step: Step, metas: Mapping[Ref, Meta], used: Set[Ref]) -> None:
        self._step = step
        self._used = [ref in used for ref in refs(step.results)]
        self.refs = tuple(dict.fromkeys([*refs(step.args), *refs(step.kwargs)]))
        self._dtypes = [metas[ref].dtype for ref in self.refs]

    def __call__(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        step = self._step
        key, tensors = (tensors[0], tensors[1:]) if step.draws else (None, tensors)
        pairs = zip(tensors, self._dtypes, strict=True)
        given = dict(zip(self.refs, (t.to(dtype) for t, dtype in pairs), strict=True))
        args, kwargs = (replaced(x, given.__getitem__, Ref) for x in (step.args, step.kwargs))
        with nullcontext() if key is None else seeded(key):
            results = _tensors(step.call(*args, **kwargs))
        return tuple(x for x, on in zip(results, self._used, strict=True) if on)


def _tensors(results: Any) -> list[torch.Tensor]:
    if isinstance(results, list | tuple):
        return [tensor for item in results for tensor in _tensors(item)]
    return [results] if isinstance(results, torch.Tensor) else []


class Called:
    """A step as a function of its arguments, with arrays, that calls the operator in PyTorch.

    Args:
        step: the step.
        metas: what all values are.
        used: those that are used; of other results nothing is returned, since what operators
            return beside their result may differ from what they say of it without values.
    """

    def __init__(self, step: Step, metas: Mapping[Ref, Meta], used: Set[Ref]) -> None:
        self._step = step
        self._used = [ref for ref in refs(step.results) if ref in used]
        self._operator = _Operator(step, metas, used)
        self._jitted = JittedCalls()
        ins = tuple(
            Aval(m.shape, canonical(m.dtype)) for m in map(metas.__getitem__, self._operator.refs)
        )
        outs = tuple(Aval(m.shape, canonical(m.dtype)) for m in map(metas.__getitem__, self._used))
        key = (Aval((2,), canonical(torch.uint32)),) if step.draws else ()
        spec = Function(
            name=step.name,
            names=(),
            apply=self._operator,
            options=Options(keyed=step.draws, randomness="different"),
            ins=key + ins,
            outs=outs,
            out_tree=tree_structure((0,) * len(outs)),
            inferred=True,
            random=False,
            host_random=False,
            settings=current_settings(),
            narrow=canonical(torch.int64).itemsize == 4,
            jitted=ref(self._jitted),
        )
        self._call = jitted_call(spec)

    def __call__(self, *args: Any, key: Any = None, **kwargs: Any) -> Any:
        arrays: dict[Ref, jax.Array] = {}
        _match((self._step.args, self._step.kwargs), (args, kwargs), arrays)
        keys = [] if key is None else [jax.random.key_data(key)]
        found = self._call(*keys, *(arrays[ref] for ref in self._operator.refs))
        return replaced(self._step.results, dict(zip(self._used, found, strict=True)).get, Ref)


def _match(template: Any, given: Any, found: dict[Ref, Any]) -> None:
    """Find the array for each value among the arguments."""
    if isinstance(template, Ref):
        found[template] = given
    elif isinstance(template, list | tuple):
        for inner, value in zip(template, given, strict=True):
            _match(inner, value, found)
    elif isinstance(template, dict):
        for key, inner in template.items():
            _match(inner, given[key], found)
