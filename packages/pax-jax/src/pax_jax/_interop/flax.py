"""Modules of Flax, of its linen and of its nnx API, as modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax

import pax_tree
from pax_jax._extras import extra
from pax_jax._interop.converted import Converted, StaticTree
from pax_jax._show.titles import title

_OPPOSITES = ("deterministic", "use_running_average")


class LinenModule(Converted):
    """A module of `flax.linen`; `from_flax` makes it.

    `params` is the collection of this name, `state` has the others. Both are `None` until the first
    call, or `hk_init`, makes them.
    """

    def __init__(
        self,
        module: Any,
        rngs: Sequence[str],
        mode_argument: str | None,
        rng_key: jax.Array | None,
    ) -> None:
        super().__init__(rng_key)
        self.module = StaticTree(module)
        self.rngs = tuple(rngs)
        self.mode_argument = mode_argument

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the linen module; its collections, where they have changed, are kept."""
        if self.mode_argument is not None:
            mode = self.training != (self.mode_argument in _OPPOSITES)
            kwargs.setdefault(self.mode_argument, mode)
        if self.params is None:
            self._initialize(args, kwargs)
        state = self._tree("state")
        variables = {"params": self._tree("params"), **state}
        keys = self._streams(self._next_key()) if self.rngs else None
        out, changed = self.module.value.apply(
            variables, *args, rngs=keys, mutable=[*state], **kwargs
        )
        self._keep_state({**state, **changed})
        return out

    def _initialize(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        key = self._initial_key()
        keys = {"params": key, **self._streams(jax.random.fold_in(key, 0))}
        self._set_variables(self.module.value.init(keys, *args, **kwargs))

    def _set_variables(self, variables: Mapping[str, Any]) -> None:
        others = {name: tree for name, tree in variables.items() if name != "params"}
        self.register_parameter_subtree("params", variables.get("params", {}))
        self.register_state_subtree("state", others)

    def _streams(self, key: jax.Array) -> dict[str, jax.Array]:
        return dict(zip(self.rngs, jax.random.split(key, len(self.rngs)), strict=True))

    @property
    def _title(self) -> str:
        return f"from_flax({type(self.module.value).__name__})"


class NnxModule(Converted):
    """A module of `flax.nnx`; `from_flax` makes it.

    `params` has the values of its `nnx.Param` variables, `state` those of all others, in dicts that
    are nested as the module is.
    """

    def __init__(self, module: Any) -> None:
        super().__init__(None)
        nnx = extra("flax.nnx", "from_flax", "flax")
        graph, params, state = nnx.split(module, nnx.Param, ...)
        self.graph = StaticTree(graph)
        self.kind = type(module).__name__
        self.register_parameter_subtree("params", nnx.to_pure_dict(params))
        self.register_state_subtree("state", nnx.to_pure_dict(state))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the nnx module; its variables, where they have changed, are kept."""
        nnx = extra("flax.nnx", "from_flax", "flax")
        module = nnx.merge(
            self.graph.value, *(nnx.State(self._tree(n)) for n in ("params", "state"))
        )
        module.train() if self.training else module.eval()
        out = module(*args, **kwargs)
        nnx.pop(module, nnx.Intermediate)
        state = nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.Param)))
        self._check_variables(state)
        self._keep_state(state)
        return out

    def _check_variables(self, state: Any) -> None:
        own = self._tree("state")
        before, after = map(pax_tree.tree_structure, (own, state))
        if before != after:
            difference = "; ".join(map(str, pax_tree.tree_diff(own, state)))
            raise ValueError(
                f"The call of {title(self)} has made or removed variables ({difference}), which must be "
                "the same before and after. Make them before `from_flax` is called."
            )

    @property
    def _title(self) -> str:
        return f"from_flax({self.kind})"


def from_flax(
    module: Any,
    *example: Any,
    variables: Mapping[str, Any] | None = None,
    rngs: Sequence[str] = (),
    mode_argument: str | None = None,
    rng_key: jax.Array | None = None,
) -> LinenModule | NnxModule:
    """Make a module of one of Flax, of its linen or of its nnx API.

    A module of nnx brings its variables along, and its own random keys; it is itself not changed by
    calls of the result. For one of linen they are made from an example of its inputs.

    Args:
        module: a `flax.linen.Module` or a `flax.nnx.Module`.
        *example: linen only: inputs for which its variables are made. Without them, and without
            `variables`, the first call makes them, or `hk_init`.
        variables: linen only: the variables, as its `init` returns them.
        rngs: linen only: names of the random streams that calls need, such as "dropout".
        mode_argument: linen only: the keyword argument by which calls are told the mode, such as
            "train"; "deterministic" and "use_running_average" are true in evaluation mode.
        rng_key: linen only: key of the first variables and of all streams; `next_rng_key()` by
            default.

    Returns:
        The module.

    Raises:
        ImportError: Flax is not installed.
        TypeError: `module` is of neither API, or is given what is for linen only.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> from flax import linen, nnx
        >>> dense = pax.from_flax(linen.Dense(3), jnp.ones((1, 2)))
        >>> dense(jnp.ones((4, 2))).shape, dense.params["kernel"].shape
        ((4, 3), (2, 3))
        >>> linear = pax.from_flax(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
        >>> linear(jnp.ones((4, 2))).shape, linear.params["kernel"].shape
        ((4, 3), (2, 3))
    """
    flax = extra("flax", "from_flax")
    if isinstance(module, flax.nnx.Module):
        if example or variables or rngs or mode_argument or rng_key is not None:
            raise TypeError(
                "from_flax takes nothing but the module for one of nnx: it has its variables and "
                "random keys, and is told the mode by its own train() and eval()."
            )
        return NnxModule(module)
    if not isinstance(module, flax.linen.Module):
        raise TypeError(
            "from_flax expects a module of flax.linen or flax.nnx, "
            f"got {module!r} of type {type(module).__name__}."
        )
    converted = LinenModule(module, rngs, mode_argument, rng_key)
    if variables is not None:
        converted._set_variables(variables)
    return converted.hk_init(*example) if example else converted
