"""PyTorch modules as pure functions of their parameters and buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from typing import Any

import jax
import jax.numpy as jnp
import torch

from torch2jax_bridge._compat import tensor_dicts, uncommitted
from torch2jax_bridge._convert import t2j
from torch2jax_bridge._runtime.generators import seeded

Arrays = dict[str, jax.Array]


class ModuleApply:
    """The function of a module.

    Called as `apply(params, *args, buffers=..., is_training=..., rng=..., **kwargs)`.
    """

    def __init__(
        self, call: Callable[..., tuple[Any, Arrays]], keyed: Callable[..., tuple[Any, Arrays]]
    ) -> None:
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
        state = bool(is_training), dict(params), dict(buffers or {}), args, kwargs
        if rng is None:
            return self._call(None, *state)
        return self._keyed(as_key_data(rng), *state)


def split_module(
    module: torch.nn.Module, share_memory: bool
) -> tuple[Callable[..., Any], Arrays, Arrays]:
    """Return a pure function of (key, is_training, params, buffers, args, kwargs), and both dicts.

    The module itself is neither called nor kept: the function uses a copy whose parameters and
    buffers have no memory.
    """
    modes = {mode: TemplatePool(module, mode) for mode in (True, False)}

    def call(
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
        with nullcontext() if key is None else seeded(key), modes[is_training].one() as template:
            out = template(state, args, kwargs)
        return out, {name: state[name].detach() for name in buffers}

    call.__qualname__ = type(module).__name__
    named = module.named_parameters(), module.named_buffers()
    params, buffers = (_arrays(tensors, share_memory) for tensors in named)
    return call, params, buffers


def _arrays(named: Iterable[tuple[str, torch.Tensor]], share_memory: bool) -> Arrays:
    copy = None if share_memory else True
    arrays = {name: t2j(tensor.detach(), copy=copy) for name, tensor in named}
    return {name: uncommitted(array) for name, array in arrays.items()}


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


NamedTensors = dict[str, torch.Tensor]
Holders = list[tuple[dict[str, Any], str]]


class ModuleTemplate:
    """A copy of a module whose parameters and buffers have no memory. For one thread at a time.

    `torch.func.functional_call` does the same for modules that want to know when their parameters
    are set, at the cost of some milliseconds for a large module.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self._plain = all(map(_is_plain, module.modules()))
        self._holders = _holders(module, self._plain)
        self._original = {
            name: values[key]
            for name, holders in self._holders.items()
            for values, key in holders[:1]
        }

    def __call__(self, state: NamedTensors, args: tuple, kwargs: Mapping[str, Any]) -> Any:
        """Call the module with other parameters and buffers.

        Args:
            state: all of them by name; what the module assigns to a buffer is put in here.
            args: the module's arguments.
            kwargs: its keyword arguments.

        Raises:
            TypeError: `state` has other names than the module.
        """
        self._check(state)
        if not self._plain:
            return torch.func.functional_call(
                self.module, state, args, dict(kwargs), tie_weights=False, strict=False
            )
        with self._filled(state):
            out = self.module(*args, **kwargs)
            for name, holders in self._holders.items():
                values, key = holders[0]
                state[name] = values[key]
        return out

    @contextmanager
    def _filled(self, state: NamedTensors) -> Iterator[None]:
        self._put(state)
        try:
            yield
        finally:
            self._put(self._original)

    def _put(self, state: NamedTensors) -> None:
        for name, holders in self._holders.items():
            for values, key in holders:
                values[key] = state[name]

    def _check(self, state: NamedTensors) -> None:
        if state.keys() == self._holders.keys():
            return
        kind = type(self.module).__name__
        missing = sorted(self._holders.keys() - state.keys())
        unknown = sorted(state.keys() - self._holders.keys())
        raise TypeError(
            f"{kind} was not given the parameters and buffers it has: "
            f"missing {missing or 'none'}, unknown {unknown or 'none'}."
        )


class TemplatePool:
    """As many templates of a module, in one mode, as threads call it at once.

    Args:
        module: is not kept.
        training: the mode.
    """

    def __init__(self, module: torch.nn.Module, training: bool) -> None:
        self._first = _without_memory(module).train(training)
        self._free = [ModuleTemplate(deepcopy(self._first))]

    @contextmanager
    def one(self) -> Iterator[ModuleTemplate]:
        """Return a template that nobody else uses in the `with` block."""
        try:
            template = self._free.pop()
        except IndexError:
            template = ModuleTemplate(deepcopy(self._first))
        yield template
        self._free.append(template)


def _without_memory(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of the module with its parameters and buffers on the meta device."""
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = torch.nn.Parameter(
            torch.empty_like(parameter, device="meta"), parameter.requires_grad
        )
    for buffer in module.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return deepcopy(module, memo)


def _holders(module: torch.nn.Module, plain: bool) -> dict[str, Holders]:
    """For each parameter and buffer all dicts that hold it, and its key there.

    Shared ones have one name. Where the module is not plain, the names alone.
    """
    named = (*module.named_parameters(), *module.named_buffers())
    names = {id(value): name for name, value in named}
    holders: dict[str, Holders] = {name: [] for name, _ in named}
    for inner in module.modules() if plain else ():
        for values in tensor_dicts(inner):
            for key, value in values.items():
                if value is not None:
                    holders[names[id(value)]].append((values, key))
    return holders


def _is_plain(module: torch.nn.Module) -> bool:
    """Whether the module takes parameters from where `torch.nn.Module` keeps them."""
    ordinary: Callable[..., Any] = torch.nn.Module.__setattr__
    is_ordinary = type(module).__setattr__ is ordinary and bool(tensor_dicts(module))
    return is_ordinary and not isinstance(module, torch.jit.ScriptModule)
