"""Modules of PyTorch as modules."""

from __future__ import annotations

import copy
import uuid
import weakref
from typing import TYPE_CHECKING, Any, Literal

import jax

from pax_jax._extras import extra
from pax_jax._interop.converted import Converted
from pax_jax._module.kinds import FROZEN
from pax_tree import record_set

if TYPE_CHECKING:
    import torch


def _without_memory(module: Any, device: str) -> Any:
    """Return a copy whose parameters and buffers are empty; what is shared stays shared."""
    torch = extra("torch", "from_torch")
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        empty = torch.empty_like(parameter, device=device)
        memo[id(parameter)] = torch.nn.Parameter(empty, parameter.requires_grad)
    for buffer in module.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device=device)
    return copy.deepcopy(module, memo)


class _Apply:
    """The function of a torch module, which never changes; it compares by identity.

    It is pickled with the module and a name of its own, by which all that is loaded of it in one
    process is one object: modules and optimizers of two files fit each other, and the original.
    """

    def __init__(self, module: Any, name: str, how: dict[str, Any]) -> None:
        bridge = extra("torch2jax_bridge", "from_torch", "torch")
        self.module = module
        self.name = name
        self.how = how
        self.call = bridge.torch2jax(_without_memory(module, "cpu"), **how)[0]

    def __deepcopy__(self, memo: Any) -> _Apply:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _apply, (self.module, self.name, self.how)


_known: weakref.WeakValueDictionary[str, _Apply] = weakref.WeakValueDictionary()


def _apply(module: Any, name: str, how: dict[str, Any] | None = None) -> _Apply:
    """Return the function of a torch module, that of a name if there is one already.

    Args:
        module: the module.
        name: of the function.
        how: what `torch2jax` is told; files of before it have none.
    """
    found = _known.get(name)
    return _known.setdefault(name, _Apply(module, name, how or {})) if found is None else found


class TorchModule(Converted):
    """A module of PyTorch; `from_torch` makes it.

    `params` has its parameters and `state` its buffers, by the names that the torch module gives
    them. `frozen` has the parameters that do not require gradients there; `unfreeze()` trains them.
    """

    frozen: dict[str, jax.Array]

    def __init__(
        self, module: Any, use_rng: bool, rng_key: jax.Array | None, how: dict[str, Any]
    ) -> None:
        super().__init__(rng_key)
        bridge = extra("torch2jax_bridge", "from_torch", "torch")
        _, arrays, buffers = bridge.torch2jax(module)
        trained = {name for name, value in module.named_parameters() if value.requires_grad}
        self.apply_torch = _apply(_without_memory(module, "meta"), uuid.uuid4().hex, how)
        self.use_rng = use_rng
        self.register_parameter_subtree("params", {k: arrays[k] for k in arrays if k in trained})
        record_set(self, "frozen", {k: arrays[k] for k in arrays if k not in trained}, FROZEN)
        self.register_state_subtree("state", buffers)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the torch module with JAX arrays; in training mode its new buffers are kept."""
        key = self._next_key() if self.use_rng and self.training else None
        out, buffers = self.apply_torch.call(
            {**self._tree("params"), **self._tree("frozen")},
            *args,
            buffers=self._tree("state"),
            is_training=self.training,
            rng=key,
            **kwargs,
        )
        if self.training:
            self._keep_state(buffers)
        return out

    def report(self) -> str:
        """Return which of PyTorch's operators are lowered to XLA, and which are called.

        Raises:
            ValueError: the module was made with `backend="call"`.
        """
        return self.apply_torch.call.report()

    @property
    def _title(self) -> str:
        return f"from_torch({type(self.apply_torch.module).__name__})"


def from_torch(
    module: torch.nn.Module,
    *,
    use_rng: bool = True,
    rng_key: jax.Array | None = None,
    backend: Literal["call", "xla"] = "call",
    strict: bool = False,
) -> TorchModule:
    """Make a module of one of PyTorch.

    It computes in PyTorch, inside of jitted JAX and with derivatives, by `torch2jax_bridge`, or as a
    program of XLA; its weights are JAX arrays, copies of those of `module`, which never changes.

    Args:
        module: any `torch.nn.Module`.
        use_rng: whether dropout and the like draw from a key of JAX's, else from PyTorch's generator.
        rng_key: from which the keys of calls are drawn; `next_rng_key()` by default.
        backend: "call" to call PyTorch, "xla" to make each of its operators operations of JAX; those
            that have no rule are called.
        strict: for "xla", whether an operator without a rule is an error.

    Returns:
        The module; `train()` and `eval()` decide the mode of all of it.

    Raises:
        ImportError: torch2jax-bridge is not installed.
        TypeError: `module` is not one of PyTorch.
        ValueError: there is no such backend, or `strict` is given without "xla".

    Example:
        >>> import jax, jax.numpy as jnp, torch
        >>> import pax_jax as pax
        >>> net = pax.from_torch(torch.nn.Linear(2, 3))
        >>> jax.jit(lambda net, x: net(x))(net, jnp.ones((4, 2))).shape
        (4, 3)
        >>> pax.grad(lambda net, x: jnp.sum(net(x)))(net, jnp.ones((4, 2))).params["bias"]
        Array([4., 4., 4.], dtype=float32)
        >>> net = pax.from_torch(torch.nn.Linear(2, 3), backend="xla", strict=True)
        >>> net(jnp.ones((4, 2))).shape
        (4, 3)
        >>> print(net.report().splitlines()[-1])
        2 of 2 operators are lowered.
    """
    torch = extra("torch", "from_torch")
    if not isinstance(module, torch.nn.Module):
        raise TypeError(
            f"from_torch expects a torch.nn.Module, got {module!r} of type {type(module).__name__}."
        )
    how = {} if (backend, strict) == ("call", False) else {"backend": backend, "strict": strict}
    return TorchModule(module, use_rng, rng_key, how)
