"""PyTorch modules as pure functions of their parameters and buffers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import torch

from torch2jax_bridge._compat import uncommitted
from torch2jax_bridge._convert import t2j
from torch2jax_bridge._lowered.evaluate import Computed
from torch2jax_bridge._lowered.lower import report
from torch2jax_bridge._runtime.generators import seeded
from torch2jax_bridge._torch2jax.recording import explain
from torch2jax_bridge._torch2jax.template import (
    NamedTensors,
    TemplatePool,
    check_module,
    without_memory,
)

Arrays = dict[str, jax.Array]


class Wrapped(Protocol):
    """What a `TorchFunction` does."""

    def __call__(self, *args: Any) -> tuple[Any, Arrays]: ...

    def clear_cache(self) -> None: ...

    def cache_size(self) -> int: ...

    def programs(self) -> list[Sequence[Computed]]: ...


class ModuleApply:
    """The function of a module.

    Called as `apply(params, *args, buffers=..., is_training=..., rng=..., **kwargs)`.
    """

    __static_by_identity__ = True

    def __init__(self, call: Wrapped, keyed: Wrapped) -> None:
        self._call = call
        self._keyed = keyed

    def __call__(
        self,
        params: Mapping[str, Any],
        *args: Any,
        buffers: Mapping[str, Any] | None = None,
        is_training: bool = True,
        rng: Any = None,
        **kwargs: Any,
    ) -> tuple[Any, Arrays]:
        """Call the module.

        Args:
            params: name -> array, as `torch2jax` returned them, or updated.
            *args: the module's own arguments, arrays in any pytree.
            buffers: name -> array; may be left out when the module has none.
            is_training: whether the module and all its submodules are in training mode. Static.
            rng: a key of JAX's from which dropout and other random operations draw: the same key
                gives the same numbers, in derivatives too. Without it they draw from PyTorch's
                own generator.
            **kwargs: the module's own keyword arguments.

        Returns:
            The module's output and the buffers after the call.
        """
        given = _as_dict(params, "params"), _as_dict(buffers or {}, "buffers")
        state = bool(is_training), *given, args, kwargs
        if rng is None:
            return self._call(None, *state)
        return self._keyed(as_key_data(rng), *state)

    def clear_cache(self) -> None:
        """Free the programs of all combinations of arguments; the next call of each makes a new one."""
        self._call.clear_cache()
        self._keyed.clear_cache()

    def cache_size(self) -> int:
        """Return for how many combinations of arguments there is a program."""
        return self._call.cache_size() + self._keyed.cache_size()

    def report(self) -> str:
        """Return a table of the operators in all programs: which are lowered, and which are called.

        Raises:
            ValueError: the module was wrapped with `backend="call"`.
        """
        return report([*self._call.programs(), *self._keyed.programs()])


def _as_dict(arrays: Any, what: str) -> Arrays:
    try:
        return dict(arrays)
    except (TypeError, ValueError):
        raise TypeError(
            f"{what} is of type {type(arrays).__name__}, expected a dict of arrays by name: "
            "apply(params, *args, buffers=buffers), with what torch2jax(module) returned."
        ) from None


BUFFERS = 3  # the position of the buffers among the arguments of a `ModuleCall`


class ModuleCall:
    """A module as a pure function of (key, is_training, params, buffers, args, kwargs).

    The module itself is neither called nor kept: copies are, whose parameters and buffers have no
    memory.
    """

    def __init__(self, training: TemplatePool, evaluating: TemplatePool) -> None:
        self._pools = {True: training, False: evaluating}
        self.__qualname__ = training.name

    def __reduce__(self) -> tuple:
        return ModuleCall, (self._pools[True], self._pools[False])

    def __call__(
        self,
        key: torch.Tensor | None,
        is_training: bool,
        params: NamedTensors,
        buffers: NamedTensors,
        args: tuple,
        kwargs: dict,
    ) -> tuple[Any, NamedTensors]:
        # Modules write into their buffers, which are JAX's memory here; not every operation that
        # does (batch norm) says so.
        state = {**params, **{name: buffer.clone() for name, buffer in buffers.items()}}
        if key is None:
            out = self._run(is_training, state, args, kwargs)
        else:
            with seeded(key):
                out = self._run(is_training, state, args, kwargs)
        return out, {name: state[name].detach() for name in buffers}

    def _run(self, is_training: bool, state: NamedTensors, args: tuple, kwargs: dict) -> Any:
        try:
            return self._pools[is_training].call(state, args, kwargs)
        except RuntimeError as error:
            explain(error)
            raise

    def for_one_call(
        self, key: Any, is_training: bool, params: Any, buffers: Any, args: Any, kwargs: Any
    ) -> ModuleCall:
        """Return the same function of a copy of the module, to be thrown away after one call."""
        pool = self._pools[is_training]
        pool.check(params.keys() | buffers.keys())
        copied = pool.for_one_call()
        return ModuleCall(copied, copied)


def split_module(module: torch.nn.Module, share_memory: bool) -> tuple[ModuleCall, Arrays, Arrays]:
    """Return a module's pure function, its parameters and its buffers.

    Raises:
        TypeError: the module cannot be given other parameters, or has some without values.
    """
    check_module(module)
    call = ModuleCall(*(TemplatePool(without_memory(module).train(on)) for on in (True, False)))
    named = module.named_parameters(), module.named_buffers()
    params, buffers = (_arrays(tensors, share_memory) for tensors in named)
    return call, params, buffers


def _arrays(named: Iterable[tuple[str, torch.Tensor]], share_memory: bool) -> Arrays:
    copy = None if share_memory else True
    arrays = {}
    for name, tensor in named:
        try:
            arrays[name] = uncommitted(t2j(tensor.detach(), copy=copy))
        except TypeError as error:
            raise TypeError(f"The module's {name} cannot be an array of JAX's: {error}") from error
    return arrays


def as_key_data(key: Any) -> jax.Array:
    """Return the numbers of a JAX key, typed or not, as an array of uint32.

    Raises:
        TypeError: it is no key.
    """
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    if not isinstance(key, jax.Array) or key.dtype != jnp.uint32 or key.ndim != 1:
        raise TypeError(f"rng is {key!r}, expected one key of jax.random.key.")
    return key
