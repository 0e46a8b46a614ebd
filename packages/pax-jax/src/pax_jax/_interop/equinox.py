"""Modules of Equinox as modules."""

from __future__ import annotations

from typing import Any

import jax

from pax_jax._extras import extra
from pax_jax._interop.converted import Converted, StaticTree
from pax_jax._module.resuming import dotted


class EquinoxModule(Converted):
    """A module of Equinox; `from_equinox` makes it.

    `params` has its floating arrays by their dotted paths. `state` has its other arrays in the same
    way at "arrays", and its `equinox.nn.State`, or `None`, at "state".
    """

    def __init__(
        self,
        module: Any,
        state: Any,
        use_rng: bool,
        batch_axis_name: str | None,
        rng_key: jax.Array | None,
    ) -> None:
        super().__init__(rng_key)
        eqx = extra("equinox", "from_equinox")
        arrays, rest = eqx.partition(module, eqx.is_array)
        params, others = eqx.partition(arrays, eqx.is_inexact_array)
        self.rest = StaticTree(rest)
        self.use_rng = use_rng
        self.batch_axis_name = batch_axis_name
        self.register_parameter_subtree("params", _by_path(params))
        self.register_state_subtree("state", {"arrays": _by_path(others), "state": state})

    @property
    def module(self) -> Any:
        """The Equinox module with the present arrays, in the present mode."""
        arrays = {**self._tree("params"), **self._tree("state")["arrays"]}
        module = jax.tree_util.tree_map_with_path(
            lambda path, leaf: arrays.get(dotted(path), leaf) if leaf is None else leaf,
            self.rest.value,
            is_leaf=lambda leaf: leaf is None,
        )
        eqx = extra("equinox", "from_equinox")
        return eqx.nn.inference_mode(module, value=not self.training)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the Equinox module; its state, where it has changed, is kept."""
        module, state = self.module, self._tree("state")["state"]
        key = self._next_key() if self.use_rng else None

        def call(args: Any, key: Any, state: Any) -> tuple[Any, Any]:
            options = kwargs if key is None else {"key": key, **kwargs}
            if state is None:
                return module(*args, **options), None
            return module(*args, state, **options)

        if self.batch_axis_name is not None:
            call, key = _batched(call, args, key, self.batch_axis_name)
        out, state = call(args, key, state)
        self._keep_state({**self._tree("state"), "state": state})
        return out

    @property
    def _title(self) -> str:
        return f"from_equinox({type(self.rest.value).__name__})"


def _by_path(tree: Any) -> dict[str, jax.Array]:
    return {dotted(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _batched(call: Any, args: Any, key: Any, axis_name: str) -> tuple[Any, Any]:
    """Return `call` for every row of `args`, and a key for each."""
    rows = jax.tree.leaves(args)[0].shape[0]
    keys = None if key is None else jax.random.split(key, rows)
    return jax.vmap(call, in_axes=(0, 0, None), out_axes=(0, None), axis_name=axis_name), keys


def from_equinox(
    module: Any,
    state: Any = None,
    *,
    use_rng: bool = False,
    batch_axis_name: str | None = None,
    rng_key: jax.Array | None = None,
) -> EquinoxModule:
    """Make a module of one of Equinox.

    `train()` and `eval()` of the result decide what `equinox.nn.inference_mode` decides there.

    Args:
        module: an `equinox.Module` that can be called.
        state: its `equinox.nn.State`, if it has one; calls pass it after the positional arguments.
        use_rng: whether calls need `key=`, as dropout does.
        batch_axis_name: calls have a batch as the first axis of their arguments, and the module is
            called for each row under `jax.vmap` with this axis name; `None` calls it as it is.
        rng_key: from which the keys of calls are drawn; `next_rng_key()` by default.

    Returns:
        The module.

    Raises:
        ImportError: Equinox is not installed.
        TypeError: `module` is not one of Equinox.

    Example:
        >>> import equinox as eqx, jax, jax.numpy as jnp
        >>> import pax_jax as pax
        >>> mlp = eqx.nn.MLP(2, 3, 8, 1, key=jax.random.key(0))
        >>> net = pax.from_equinox(mlp, batch_axis_name="batch")
        >>> net(jnp.ones((4, 2))).shape, list(net.params)[:2]
        ((4, 3), ['layers.0.weight', 'layers.0.bias'])
    """
    eqx = extra("equinox", "from_equinox")
    if not (isinstance(module, eqx.Module) and callable(module)):
        raise TypeError(
            "from_equinox expects an equinox.Module that can be called, "
            f"got {module!r} of type {type(module).__name__}."
        )
    return EquinoxModule(module, state, use_rng, batch_axis_name, rng_key)
