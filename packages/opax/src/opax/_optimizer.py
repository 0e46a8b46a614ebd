"""`Optimizer`, a module that holds optax's state, and its steps as functions that change nothing."""

from __future__ import annotations

from typing import Any, Literal, Self, TypeVar, overload

import jax
import optax

import pax_tree
from opax._call import Call, Template
from opax._flax import register_with_flax
from opax._groups import group_lines
from opax._hyperparameters import call_in_use, find, names, takes_examples
from opax._inspect import Part, part, parts, summary_lines
from opax._params import (
    Structure,
    aligned,
    apply_updates,
    check_like,
    check_order,
    check_state,
    like,
    trainable,
    unaliased,
    usual_promotion,
    where_finite,
    with_dtypes,
)
from opax._replace import as_array, replaced
from opax._resume import as_saved, resumed, warn_of_other_values
from pax_jax import Optimizer as BaseOptimizer
from pax_jax import update_parameters

T = TypeVar("T")


class Optimizer(BaseOptimizer):
    """An optax transformation, its hyperparameters and its state for some parameters, as a module.

    Made by a transformation: `opax.adam(1e-3)(params)`. It passes through `jax.jit`, `jax.vmap` and
    `jax.lax.scan` like any module. Its attributes are the transformation's arguments, such as
    `learning_rate`, and the fields of optax's state, such as `count`. Of a chain, `optimizer[i]` is
    the optimizer of the i-th transformation; of groups, `optimizer[label]`.

    Args:
        transformation: what makes updates from gradients.
        params: a module or any pytree of arrays; of modules only the parameters count.

    Attributes:
        template: the transformation without the values of its hyperparameters; static.
        structure: the structure of the parameters; static.
        made_for: what holds it; static.
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
    _own = frozenset({"template", "made_for", "hyperparams", "state", "training", "name"})

    template: Template
    made_for: Structure
    hyperparams: dict[str, Any]
    state: Any
    # Of those that have them; `__getattr__` reads them.
    learning_rate: jax.Array
    count: jax.Array

    def __init__(self, transformation: Call, params: Any) -> None:
        super().__init__()
        made_for, params = Structure.of(params), trainable(params)
        self._hold(transformation.template, _arrays(transformation), made_for, None)
        with usual_promotion():
            self.state = unaliased(self._traced().init(params), params)

    @classmethod
    def _of(
        cls, template: Template, hyperparams: dict[str, Any], structure: Any, state: Any
    ) -> Any:
        """Make an optimizer with a state that is there already."""
        made = cls.__new__(cls)
        made_for = structure if isinstance(structure, Structure) else Structure(structure)
        made._hold(template, hyperparams, made_for, state)
        return made

    def _hold(
        self, template: Template, hyperparams: dict[str, Any], made_for: Structure, state: Any
    ) -> None:
        register_with_flax(type(self))
        self.template = template
        self.register_state_subtree("made_for", made_for)
        self.register_state_subtree("hyperparams", hyperparams)
        self.register_state_subtree("state", state)

    @property
    def transformation(self) -> Any:
        """The transformation, with the hyperparameters that are used now."""
        return self.template.fill_by_name(self.hyperparams)

    @property
    def structure(self) -> Any:
        """The structure of the parameters; None where it is not checked."""
        return self.made_for.treedef

    @property
    def _takes_examples(self) -> bool:
        """Whether gradients may have an axis of examples in front, for differential privacy."""
        return takes_examples(self.template)

    def _traced(self) -> optax.GradientTransformationExtraArgs:
        """Return the transformation of optax with arrays for hyperparameters."""
        if len(self.hyperparams) != len(self.template.names):
            _check_names(self.template, self.hyperparams)
        weak = {name: _weak(value) for name, value in self.hyperparams.items()}
        return self.template.fill_by_name(weak).as_optax()

    def _with(self, transformation: Call, state: Any) -> Any:
        """Return a copy with the hyperparameters of a transformation and a new state."""
        copy = self.copy()
        copy.template, copy.hyperparams = transformation.template, _arrays(transformation)
        copy.state = state
        return copy

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
            ValueError: `grads` or `model` are not of the structure the optimizer was made for, or given
                for each other.
        """
        check_order(grads, model, self.made_for)
        params, self.state = self._step(grads, trainable(model), extra_args, all_finite)
        return update_parameters(model, params)

    def _step(
        self, grads: Any, params: Any, extra_args: dict[str, Any], all_finite: Any
    ) -> tuple[Any, Any]:
        """Return new parameters and the new state."""
        updates, state = self._transform(grads, params, extra_args)
        new = self._applied(params, updates), state
        return new if all_finite is None else where_finite(all_finite, new, (params, self.state))

    def _applied(self, params: Any, updates: Any) -> Any:
        """Return the new parameters, on the devices where they were."""
        new, placement = apply_updates(params, updates), self.made_for.placement
        return new if placement is None else placement.gathered(new)

    def _transform(self, grads: Any, params: Any, extra_args: dict[str, Any]) -> tuple[Any, Any]:
        """Return the updates, in the structure of `grads`, and the new state."""
        updates, state = self._transformed(grads, params, extra_args)
        placement = self.made_for.placement
        return updates if placement is None else placement.gathered(updates), self.made_for.placed(
            state
        )

    def _transformed(self, grads: Any, params: Any, extra_args: dict[str, Any]) -> tuple[Any, Any]:
        update = self._traced().update
        with usual_promotion():
            if self.structure is None:
                return update(grads, self.state, params, **extra_args)
            inner_grads = aligned("gradients", grads, self.made_for)
            if params is not None:
                params = aligned("parameters", params, self.made_for)
                check_like(inner_grads, params, self._takes_examples)
            updates, state = self._update(update, inner_grads, params, extra_args)
        measured = pax_tree.tree_structure(updates) != self.structure
        if params is not None and not measured and self._takes_examples:
            check_like(updates, params, False)
        return updates if measured else like(grads, updates), state

    def _update(
        self, update: Any, grads: Any, params: Any, extra_args: dict[str, Any]
    ) -> tuple[Any, Any]:
        try:
            updates, state = update(grads, self.state, params, **extra_args)
        except Exception as error:
            if params is None:
                error.add_note(self._needs_parameters(grads))
            raise
        return updates, with_dtypes(state, self.state)

    def _needs_parameters(self, grads: Any) -> str:
        path = next(iter(pax_tree.tree_leaves_with_path(grads)), ((),))[0]
        return (
            f"If {self!r} needs the parameters, as weight decay does, for one: it got None where the "
            f"gradients have {pax_tree.keystr(path) or 'the root'}. Pass them, "
            "`opax.transform_gradients(grads, optimizer, params)`."
        )

    def replace(self, **attributes: Any) -> Self:
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
        if "structure" in attributes:
            placement = self.made_for.placement
            made_for = Structure(attributes.pop("structure")).but(placement=placement)
            attributes["made_for"] = made_for
        own = {name: value for name, value in attributes.items() if name in self._own}
        if "state" in own:
            own["state"] = self.made_for.placed(check_state(self.state, own["state"]))
        copy = super().replace(**own)
        if "hyperparams" in own:
            _check_names(copy.template, copy.hyperparams)
        for name, value in attributes.items():
            if name not in own:
                copy, path = replaced(copy, name, value, attributes)
                copy.made_for = copy.made_for.with_replaced(path)
        if "state" in own:
            warn_of_other_values(self, copy, attributes)
        return copy

    def _as_saved(self, paths: list[str]) -> Any:
        """Return the form in which the arrays of these paths were saved; `pax_jax` loads into it."""
        return as_saved(self, [x for x in paths if x.startswith("hyperparams.")])

    def _resumed(self, given: Any) -> Any:
        """Return this optimizer, which was loaded into the form of another."""
        return resumed(self, given)

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Raise an error that names the functions which do what is meant elsewhere.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "An optimizer of opax has no `update`: optax's `tx.update(grads, state, params)` is "
            "`updates, optimizer = opax.transform_gradients(grads, optimizer, params)`, and the "
            "`optimizer.update(model, grads)` of Flax is `model = optimizer.step(grads, model)`."
        )

    def _classify(self, name: str, value: Any) -> int | None:
        if name not in self._own:
            raise AttributeError(
                f"Cannot assign to {name!r} of {self!r}: change an optimizer with "
                f"`optimizer = optimizer.replace({name}=...)`."
            )
        return super()._classify(name, value)

    def _classify_again(self, name: str, value: Any, kind: int) -> int | None:
        return kind  # what optax makes of a state is one

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in self._own:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")
        return find(self, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *names(self)]

    @overload
    def __getitem__(self, index: int | str) -> Optimizer | Part: ...
    @overload
    def __getitem__(self, index: slice) -> Optimizer | list[Optimizer | Part]: ...
    def __getitem__(self, index: int | slice | str) -> Any:
        """Return one transformation of a chain, or of groups by label, or a part of a chain."""
        return part(self, index)

    def __len__(self) -> int:
        return len(parts(self))

    def __bool__(self) -> bool:
        return True

    @overload  # type: ignore[override]
    def summary(self, params: Any = None, *, return_list: Literal[False] = False) -> str: ...
    @overload
    def summary(self, params: Any = None, *, return_list: bool, table: bool = False) -> Any: ...
    @overload
    def summary(self, params: Any = None, *, table: bool) -> str: ...
    def summary(self, params: Any = None, *, return_list: bool = False, table: bool = False) -> Any:
        """Draw the transformations, and the modules in their states, as a tree.

        Args:
            params: the parameters, or their model; below the tree is then a table with a row for each
                group of parameters: how many they are, and the learning rate and weight decay of the next
                step. "0.01 of 96" is a decay of so many of them, those of a mask.
            return_list: return the lines rather than one string.
            table: draw a table of all arrays instead, as of any module.

        Raises:
            ValueError: `params` are not those that the optimizer was made for.

        Example:
            >>> import opax, pax_jax
            >>> net = pax_jax.Linear(3, 3)
            >>> tx = opax.chain(opax.clip(1.0), opax.adamw(1e-3, mask="*.weight"))
            >>> print(tx(net.parameters()).summary(net))
            chain
            ├── clip(max_delta=1.0)
            └── adamw(learning_rate=0.001, mask='*.weight', weight_decay=1e-04)
                ├── scale_by_adam
                │   ├── Linear(in_dim=3, out_dim=3, with_bias=True)
                │   └── Linear(in_dim=3, out_dim=3, with_bias=True)
                ├── masked
                └── scale
            group  arrays  parameters  learning rate  weight decay
            all         2          12          0.001   0.0001 of 9
            state: 100 bytes
        """
        if table:
            return super().summary(return_list, table=True)
        lines = summary_lines(self)
        if params is not None:
            lines += group_lines(self, params)
        return lines if return_list else "\n".join(lines)

    def __repr__(self) -> str:
        return repr(call_in_use(self, given_only=True))


def _arrays(transformation: Call) -> dict[str, jax.Array]:
    return {name: as_array(value) for name, value in transformation.hyperparams.items()}


def _check_names(template: Template, hyperparams: dict[str, Any]) -> None:
    if hyperparams.keys() != set(template.names):
        raise ValueError(
            f"The hyperparameters of {template!r} have the names {', '.join(template.names)}, got "
            f"{', '.join(map(str, hyperparams))}."
        )


def _weak(value: Any) -> Any:
    """Return an array that promotes as a Python number does: to the dtype of what it meets."""
    if not isinstance(value, jax.Array):  # which a user has put into the dict
        value = as_array(value)
    convert = jax.lax.convert_element_type_p
    return convert.bind(value, new_dtype=value.dtype, weak_type=True, sharding=None)


def transform_gradients(
    grads: Any, optimizer: Optimizer, params: Any, **extra_args: Any
) -> tuple[Any, Optimizer]:
    """Turn gradients into updates, which are to be added to the parameters.

    Args:
        grads: gradients of `params`.
        optimizer: an optimizer made for `params`; it is not changed.
        params: the parameters; None will do where the transformation does not read them.
        **extra_args: what the transformation needs beyond these, such as `value=`.

    Returns:
        The updates, in the structure of `grads`, and the optimizer with its new state.

    Raises:
        TypeError: `optimizer` is not an optimizer of opax.
        ValueError: `grads` or `params` are not of the structure the optimizer was made for.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> params = jnp.array([1.0, 2.0])
        >>> optimizer = opax.sgd(0.5)(params)
        >>> updates, optimizer = opax.transform_gradients(jnp.ones(2), optimizer, params)
        >>> opax.apply_updates(params, updates)
        Array([0.5, 1.5], dtype=float32)
    """
    optimizer = _copied(optimizer)
    if params is not None:
        check_order(grads, params, optimizer.made_for)
        params = trainable(params)
    updates, optimizer.state = optimizer._transform(grads, params, extra_args)
    return updates, optimizer


def apply_gradients(
    model: T, optimizer: Optimizer, grads: Any, all_finite: Any = None, **extra_args: Any
) -> tuple[T, Optimizer]:
    """Make one step of an optimizer.

    Args:
        model: a module or any pytree; of modules only the parameters are updated.
        optimizer: an optimizer made for the parameters of `model`; it is not changed.
        grads: gradients of the parameters of `model`.
        all_finite: a bool, which may be traced, such as `jmp.all_finite(grads)`; where it is false,
            neither the parameters nor the optimizer change.
        **extra_args: what the transformation needs beyond these, such as `value=`.

    Returns:
        A copy of `model` with new parameters, and the optimizer with its new state.

    Raises:
        TypeError: `optimizer` is not an optimizer of opax.
        ValueError: `grads` or `model` are not of the structure the optimizer was made for.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import opax, pax_jax
        >>> net = pax_jax.Linear(2, 1)
        >>> optimizer = opax.sgd(0.5)(net.parameters())
        >>> grads = jax.tree.map(jnp.ones_like, net.parameters())
        >>> net, optimizer = opax.apply_gradients(net, optimizer, grads)
        >>> net.bias
        Array([-0.5], dtype=float32)
    """
    optimizer = _copied(optimizer)
    model = optimizer.step(grads, model, all_finite=all_finite, **extra_args)
    return model, optimizer


def _copied(optimizer: Any) -> Any:
    """Return a copy, free to be changed.

    Raises:
        TypeError: this is not an optimizer.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            "Expected an optimizer such as `opax.adam(1e-3)(params)`, "
            f"got {optimizer!r} of type {type(optimizer).__name__}."
        )
    return optimizer.copy()
