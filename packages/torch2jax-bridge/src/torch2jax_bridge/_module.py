"""PyTorch modules as pure functions of their parameters and buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import jax
import torch

from torch2jax_bridge._convert import t2j
from torch2jax_bridge._random import as_key_data, seeded
from torch2jax_bridge._skeleton import Skeletons, Tensors

Arrays = dict[str, jax.Array]


class Apply:
    """The function of a module.

    Called as `apply(params, *args, buffers=..., is_training=..., rng=..., **kwargs)`.
    """

    def __init__(
        self,
        call: Callable[..., tuple[Any, Arrays]],
        keyed: Callable[..., tuple[Any, Arrays]],
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
    modes = {mode: Skeletons(module, mode) for mode in (True, False)}

    def call(
        key: torch.Tensor | None,
        is_training: bool,
        params: Tensors,
        buffers: Tensors,
        args: tuple,
        kwargs: dict,
    ) -> tuple[Any, Tensors]:
        # Modules write into their buffers, which are JAX's memory here; not every operation that
        # does (batch norm) says so.
        state = {**params, **{name: buffer.clone() for name, buffer in buffers.items()}}
        with nullcontext() if key is None else seeded(key), modes[is_training].one() as skeleton:
            out = skeleton(state, args, kwargs)
        return out, {name: state[name].detach() for name in buffers}

    call.__qualname__ = type(module).__name__
    named = module.named_parameters(), module.named_buffers()
    params, buffers = (_arrays(tensors, share_memory) for tensors in named)
    return call, params, buffers


def _arrays(named: Iterable[tuple[str, torch.Tensor]], share_memory: bool) -> Arrays:
    copy = None if share_memory else True
    return {name: t2j(tensor.detach(), copy=copy) for name, tensor in named}
