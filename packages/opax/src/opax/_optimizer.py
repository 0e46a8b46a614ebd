"""`Optimizer`, a module that holds optax's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import jax
import jax.numpy as jnp
import optax

import pax_tree
from opax._hyperparameters import as_array
from opax._lookup import find, inject, place
from opax._parts import part, parts
from opax._promotion import usual_promotion
from opax._structure import aligned, check_like, check_state, like, trainable
from opax._summary import summary_lines
from opax._updates import apply_updates, where_finite
from pax_jax import Optimizer as BaseOptimizer
from pax_jax import update_parameters

if TYPE_CHECKING:
    from opax._transformation import Template


T = TypeVar("T")


class Optimizer(BaseOptimizer):
    """An optax transformation, its hyperparameters and its state for some parameters, as a module.

    Made by a transformation: `opax.adam(1e-3)(params)`. It passes through `jax.jit`, `jax.vmap` and
    `jax.lax.scan` like any module. Its attributes are the transformation's arguments, such as
    `learning_rate`, and the fields of optax's state, such as `count`. Of a chain, `optimizer[i]` is
    the optimizer of the i-th transformation; of groups, `optimizer[label]`.

    Args:
        template: what makes updates from gradients, without its hyperparameters.
        hyperparams: the hyperparameters by path.
        params: a module or any pytree of arrays; of modules only the parameters count.

    Attributes:
        template: static.
        structure: of the parameters; static.
        hyperparams: arrays by path, such as `learning_rate`, or `1.learning_rate` in a chain. The
            learning rate, weight decay, momentum and step size are among them from the beginning, others
            when they were given as arrays, or from when they are first replaced.
        state: optax's state; its arrays are never those of `params`, so both can be donated.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> params = {"w": jnp.array([1.0, 2.0])}
        >>> optimizer = opax.adam(0.5)(params)
        >>> params = optimizer.step({"w": jnp.zeros(2)}, params)
        >>> params["w"], optimizer.count
        (Array([1., 2.], dtype=float32), Array(1, dtype=int32))
        >>> optimizer.replace(learning_rate=0.1).learning_rate
        Array(0.1, dtype=float32)
    """

    _checks_sharing = False
    _own = frozenset({"template", "structure", "hyperparams", "state", "training", "name"})

    template: Template
    structure: Any
    hyperparams: dict[str, Any]
    state: Any

    def __init__(self, template: Template, hyperparams: dict[str, Any], params: Any) -> None:
        super().__init__()
        params = trainable(params)
        self.template = template
        # Lookahead's parameters are two of each, and its gradients are of the first only.
        is_pair = isinstance(params, optax.LookaheadParams)
        self.structure = None if is_pair else pax_tree.tree_structure(params)
        with usual_promotion():
            state = template.build_traced(hyperparams).init(params)
        self.register_state_subtree("hyperparams", hyperparams)
        self.register_state_subtree("state", _unaliased(state, params))

    def step(self, grads: Any, model: T, *, all_finite: Any = None, **extra_args: Any) -> T:
        """Return the updated model, and change the state of this optimizer.

        Args:
            grads: gradients of the parameters of `model`.
            model: a module or any pytree.
            all_finite: a bool, which may be traced; where false, nothing changes.
            **extra_args: what the transformation needs beyond these, such as `value=`.

        Returns:
            A copy of `model` with new parameters.

        Raises:
            ValueError: `grads` or `model` are not of the structure the optimizer was made for.
        """
        params, self.state = self._step(grads, trainable(model), extra_args, all_finite)
        return update_parameters(model, params)

    def _step(
        self, grads: Any, params: Any, extra_args: dict[str, Any], all_finite: Any
    ) -> tuple[Any, Any]:
        """Return new parameters and the new state."""
        updates, state = self._transform(grads, params, extra_args)
        new = apply_updates(params, updates), state
        return new if all_finite is None else where_finite(all_finite, new, (params, self.state))

    def _transform(self, grads: Any, params: Any, extra_args: dict[str, Any]) -> tuple[Any, Any]:
        """Return the updates, in the structure of `grads`, and the new state."""
        update = self.template.build_traced(self.hyperparams).update
        with usual_promotion():
            if self.structure is None:
                return update(grads, self.state, params, **extra_args)
            inner_grads = aligned("gradients", grads, self.structure)
            if params is not None:
                params = aligned("parameters", params, self.structure)
                check_like(inner_grads, params)
            updates, state = self._update(update, inner_grads, params, extra_args)
        measured = pax_tree.tree_structure(updates) != self.structure
        return updates if measured else like(grads, updates), state

    def _update(
        self, update: Any, grads: Any, params: Any, extra_args: dict[str, Any]
    ) -> tuple[Any, Any]:
        try:
            updates, state = update(grads, self.state, params, **extra_args)
        except ValueError as error:
            if params is None:
                raise ValueError(self._needs_parameters(grads)) from error
            raise
        return updates, _with_dtypes(state, self.state)

    def _needs_parameters(self, grads: Any) -> str:
        path = next(iter(pax_tree.tree_leaves_with_path(grads)), ((),))[0]
        return (
            f"{self!r} needs the parameters, whose values its updates depend on (weight decay, for "
            f"one), and got None where the gradients have {pax_tree.keystr(path) or 'the root'}: "
            "pass them, `opax.transform_gradients(grads, optimizer, params)`."
        )

    def replace(self, **attributes: Any) -> Any:
        """Return a copy with some hyperparameters or attributes replaced.

        A hyperparameter that is among `hyperparams` is replaced without compiling anything anew.
        Any other number among the transformation's arguments becomes one when it is first replaced,
        which compiles a step once more.

        Args:
            **attributes: new values; of hyperparameters inside of a chain by name where there is one
                of that name, else by path: `optimizer.replace(**{"1.learning_rate": 0.1})`.

        Raises:
            AttributeError: there is no such attribute, or more than one.
            ValueError: `state` is not that of an optimizer of the same kind for the same parameters.

        Example:
            >>> import jax.numpy as jnp
            >>> import opax
            >>> tx = opax.chain(opax.clip(1.0), opax.adam(1e-3))
            >>> optimizer = tx({"w": jnp.ones(2)}).replace(learning_rate=0.5, b1=0.8)
            >>> optimizer
            chain(clip(max_delta=1.0), adam(learning_rate=0.5, b1=0.8))
        """
        own = {name: value for name, value in attributes.items() if name in self._own}
        if "state" in own:
            own["state"] = check_state(self.state, own["state"])
        copy = super().replace(**own)
        for name in attributes.keys() - own.keys():
            copy = copy._with_hyperparameter(name, attributes[name])
        return copy

    def _with_hyperparameter(self, name: str, value: Any) -> Any:
        path, injected = place(self, name)
        copy = self.copy()
        if injected:
            copy.state = inject(self.state, name, value)
            return copy
        if path not in self.hyperparams:
            copy.template = self.template.with_slot(path)
        copy.hyperparams = {**self.hyperparams, path: as_array(value)}
        return copy

    @classmethod
    def _of(
        cls, template: Template, hyperparams: dict[str, Any], structure: Any, state: Any
    ) -> Any:
        """Make an optimizer with a state that is there already."""
        made = cls.__new__(cls)
        made.template, made.structure = template, structure
        made.register_state_subtree("hyperparams", hyperparams)
        made.register_state_subtree("state", state)
        return made

    def _classify(self, name: str, value: Any) -> int | None:
        if name not in self._own:
            raise AttributeError(
                f"Cannot assign to {name!r} of {self!r}: change an optimizer with "
                f"`optimizer = optimizer.replace({name}=...)`."
            )
        return super()._classify(name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in self._own:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")
        return find(self, name)

    def __getitem__(self, index: int | slice | str) -> Any:
        """Return one transformation of a chain, or of groups by label, or a part of a chain."""
        return part(self, index)

    def __len__(self) -> int:
        return len(parts(self))

    def __bool__(self) -> bool:
        return True

    def summary(self, return_list: bool = False, *, table: bool = False) -> Any:
        """Draw the transformations, and the modules in their states, as a tree.

        Args:
            return_list: return the lines rather than one string.
            table: draw a table of all arrays instead, as of any module.

        Example:
            >>> import opax, pax_jax
            >>> net = pax_jax.Linear(3, 3)
            >>> print(opax.chain(opax.clip(1.0), opax.adam(1e-3))(net.parameters()).summary())
            chain
            ├── clip(max_delta=1.0)
            └── adam(learning_rate=0.001)
                ├── scale_by_adam
                │   ├── Linear(in_dim=3, out_dim=3, with_bias=True)
                │   └── Linear(in_dim=3, out_dim=3, with_bias=True)
                └── scale
        """
        if table:
            return super().summary(return_list, table=True)
        lines = summary_lines(self)
        return lines if return_list else "\n".join(lines)

    def __repr__(self) -> str:
        return self.template._show(self.hyperparams)


def _with_dtypes(state: Any, like_state: Any) -> Any:
    """Keep the dtypes of a state, which optax lets drift for parameters of low precision."""
    leaves, structure = jax.tree.flatten(state)
    old = jax.tree.leaves(like_state)
    if len(old) != len(leaves):
        return state
    kept = [
        x.astype(y.dtype) if getattr(x, "dtype", None) != getattr(y, "dtype", None) else x
        for x, y in zip(leaves, old, strict=True)
    ]
    return jax.tree.unflatten(structure, kept)


def _unaliased(state: Any, params: Any) -> Any:
    """Copy the arrays of `state` that also stand in `params`, or twice in `state`."""
    seen = set(map(id, pax_tree.tree_leaves(params)))

    def once(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and id(leaf) in seen:
            return jnp.copy(leaf)
        seen.add(id(leaf))
        return leaf

    return jax.tree.map(once, state)
