"""`Transformation`, a gradient transformation of optax that makes stateful optimizers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import pax_tree
from opax import _transforms
from opax._call import Call, Template, given, items, map_items, signature
from opax._hyperparameters import arguments, functions_in
from opax._masks import is_mask
from opax._optimizer import Optimizer
from opax._params import usual_promotion

# What is kept among an optimizer's arrays from the beginning: optax uses these as factors only, so
# that tracing them changes no bit of its results.
KEPT = {"learning_rate", "weight_decay", "momentum", "step_size"}

# These compute with it in Python's precision before it meets an array.
EXCEPT = {
    ("fromage", "learning_rate"),
    ("madgrad", "momentum"),
    ("scale_by_madgrad", "momentum"),
    ("sm3", "momentum"),
}


class _Part(functools.partial[Any]):
    """A function of a call; equal to that of an equal call, as a module's structure compares tuples."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Part) and (self.func, self.args) == (other.func, other.args)

    def __hash__(self) -> int:
        return hash((self.func, self.args))


class Transformation(Call, optax.GradientTransformationExtraArgs):
    """A gradient transformation of optax; called with parameters it makes an optimizer.

    It is a pytree of its hyperparameters, and an `optax.GradientTransformationExtraArgs` that optax,
    Flax and others take where they take those of optax. Two transformations made by the same function
    from equal arguments are equal. Optimizers whose transformations differ in the values of
    hyperparameters only have the same structure, so that `jax.jit` compiles for them once.

    Attributes:
        function: the function of optax that makes the transformation.
        arguments: its arguments by name.
        tx: the optax transformation.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import opax, optax
        >>> opax.sgd(0.1) == opax.sgd(0.1), opax.sgd(0.1) == opax.sgd(0.2)
        (True, False)
        >>> optimizer = opax.sgd(0.1)({"w": jnp.ones(2)})
        >>> optimizer
        sgd(learning_rate=0.1)
        >>> jax.tree.map(lambda rate: 2 * rate, opax.sgd(0.1))
        sgd(learning_rate=0.2)
        >>> isinstance(opax.sgd(0.1), optax.GradientTransformation)
        True
    """

    _is_static = True  # in a module; pax_jax reads it
    _call: Call

    def __new__(cls, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        made = super().__new__(cls, function, dict(_with_defaults(function, arguments)))
        if function is _transforms.flattened:
            _check_flattened(made)
        return made

    @classmethod
    def _of(cls, template: Template, leaves: Iterable[Any], new: Any = None) -> Any:
        call = Call._of(template, leaves)  # not the tuple, whose functions would keep it alive
        pair = _Part(_init, call), _Part(_update, call)
        made = super()._of(template, call.leaves, lambda cls: tuple.__new__(cls, pair))
        made._call = call
        return made

    @classmethod
    def _marked(cls, function: Callable[..., Any], name: str, value: Any) -> Any:
        if _is_node(value) or (is_number(value) and _is_kept(function, name)):
            return value
        if function is given or not any(map(_has_nodes, items(value))):
            return super()._marked(function, name, value)
        if isinstance(value, _MADE_BY_OPTAX):
            return from_optax(value)
        return map_items(lambda item: cls._marked(function, "", item), value)

    @property
    def made(self) -> Any:
        """What the function of optax returns."""
        return self._call.made

    @property
    def tx(self) -> optax.GradientTransformationExtraArgs:
        """The transformation of optax, whose state is optax's own."""
        return _with_masks(self._call)

    def as_optax(self) -> Any:
        return self.tx

    def init(self, params: Any) -> Optimizer:
        """Make an optimizer for `params`.

        Args:
            params: a module or any pytree of arrays; of modules only the parameters count.

        Returns:
            An optimizer that holds optax's state for these parameters, and notes what is replaced in
            it, so that `update` uses that.
        """
        return _init(self._call, params)

    def update(self, updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        """Turn gradients into updates, as a transformation of optax.

        The hyperparameters are those of this transformation, as everywhere in optax, but for those that
        were replaced in the state: `state = state.replace(learning_rate=0.1)`.

        Args:
            updates: gradients of the parameters.
            state: an optimizer made by `init`, or by `__call__`, whose hyperparameters are then used
                all; or a state that optax made.
            params: the parameters.
            **extra_args: what the transformation needs beyond these, such as `value=`.

        Returns:
            The updates and the new state; `state` is not changed.
        """
        return _update(self._call, updates, state, params, **extra_args)

    def __call__(self, params: Any) -> Optimizer:
        """Make an optimizer for `params`, to be used without its transformation."""
        return Optimizer(self, params)

    @classmethod
    def _make(cls, pair: Iterable[Any]) -> Any:
        """Make a pair of other functions, for `_replace`."""
        return optax.GradientTransformationExtraArgs(*pair)

    def __repr__(self) -> str:
        return "from_optax(...)" if self.function is given else super().__repr__()


def _with_keys(transformation: Transformation) -> tuple[Any, Template]:
    template = transformation.template
    return zip(map(pax_tree.DictKey, template.names), transformation.leaves, strict=True), template


pax_tree.register_pytree_with_keys(
    Transformation, _with_keys, Template.fill, lambda made: (made.leaves, made.template)
)


def from_optax(tx: Any) -> Transformation:
    """Make a transformation of opax from one of optax.

    The hyperparameters of `tx` are constants of the compiled program, as in optax.

    Args:
        tx: a `GradientTransformation`, with extra arguments or without, or any object with such an
            `init` and `update`.

    Returns:
        A function of parameters that makes an optimizer.

    Raises:
        TypeError: `tx` has no `init` and `update`.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax, optax
        >>> optimizer = opax.from_optax(optax.sgd(0.5, momentum=0.9))({"w": jnp.ones(2)})
        >>> optimizer[0].trace
        {'w': Array([0., 0.], dtype=float32)}
    """
    if isinstance(tx, Transformation):
        return tx
    if isinstance(tx, type) or not (hasattr(tx, "init") and hasattr(tx, "update")):
        raise TypeError(
            "from_optax expects an optax GradientTransformation such as `optax.adam(1e-3)`, "
            f"got {tx!r} of type {type(tx).__name__}."
        )
    return Transformation(given, {"tx": tx})


_MADE_BY_OPTAX = (optax.GradientTransformation, optax.MultiSteps)


def _with_masks(call: Call) -> optax.GradientTransformationExtraArgs:
    """Return the transformation of optax, which finds masks by path in the parameters it is given.

    Not all functions of optax take a function for a mask, but all take a tree.
    """
    if not call.masks:
        return optax.with_extra_args_support(call.made)

    def init(params: Any) -> Any:
        return call.made_for(params).init(params)

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        same = pax_tree.tree_structure(params) == pax_tree.tree_structure(updates)
        made = call.made_for(params if same else updates)
        return optax.with_extra_args_support(made).update(updates, state, params, **extra_args)

    return optax.GradientTransformationExtraArgs(init, update)


def _init(call: Call, params: Any) -> Optimizer:
    optimizer = Optimizer(call, params)
    optimizer.made_for = optimizer.made_for.noting()
    return optimizer


def _update(call: Call, updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
    if isinstance(state, Optimizer):
        call = _with_replaced(call, state)
    update = _with_masks(call).update
    with usual_promotion():
        if not isinstance(state, Optimizer):
            return update(updates, state, params, **extra_args)
        updates, inner = update(updates, state.state, params, **extra_args)
    return updates, state._with(call, inner)


def _with_replaced(call: Call, state: Optimizer) -> Call:
    """Return a transformation with the hyperparameters that were replaced in a state."""
    changed = state.made_for.replaced
    if changed is None:
        return state.transformation._call
    if not changed:
        return call
    values, transformation = dict(arguments(state.transformation)), call.template.fill(call.leaves)
    for path in changed:
        transformation = transformation.replaced(path, values[path])
    return transformation._call


# These look at single leaves: their shapes or norms, what they are for, or functions of parameters.
_OF_LEAVES = {
    *("adafactor", "adaptive_grad_clip", "centralize", "clip_by_block_rms", "fromage", "galore"),
    *("lamb", "lars", "muon", "novograd", "scale_by_distance_over_gradients"),
    *("scale_by_factored_rms", "scale_by_galore", "scale_by_muon", "scale_by_novograd"),
    *("scale_by_param_block_norm", "scale_by_param_block_rms", "scale_by_sm3"),
    *("scale_by_trust_ratio", "sm3"),
    *("freeze", "masked", "multi_transform", "partition", "selective_transform"),
    *("differentially_private_aggregate", "dpsgd", "lookahead"),
    *("hutchinson_estimator_diag_hessian", "lbfgs", "monitor_norms"),
    "scale_by_backtracking_linesearch",
    *("scale_by_zoom_linesearch", "sophia"),
}


def _check_flattened(made: Transformation) -> None:
    """Raise ValueError if what is run on vectors has to see the leaves."""
    for function, call in functions_in(made):
        name = getattr(function, "__name__", "")
        masks = [
            key
            for key, x in call.arguments.items()
            if is_mask(key) and not (x is None or isinstance(x, bool))
        ]
        if name in _OF_LEAVES or masks:
            what = f"{name} with {masks[0]}=" if masks and name not in _OF_LEAVES else name
            raise ValueError(
                f"flattened puts all leaves into one vector, and {what} looks at single leaves: leave it "
                f"out of what is flattened (`opax.chain(opax.flattened(...), opax.{name}(...))`)."
            )


def _is_node(value: Any) -> bool:
    return isinstance(value, Transformation) or is_array(value)


def _has_nodes(value: Any) -> bool:
    return _is_node(value) or isinstance(value, _MADE_BY_OPTAX)


def _with_defaults(function: Any, arguments: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the arguments, and the hyperparameters that a function has when none are given.

    Zeros stand for nothing.
    """
    yield from arguments.items()
    for name, parameter in signature(function).parameters.items():
        is_set = isinstance(parameter.default, float) and parameter.default != 0
        if is_set and name not in arguments and _is_kept(function, name):
            yield name, parameter.default


def _is_kept(function: Any, name: str) -> bool:
    """Say whether an argument is kept; what `inject_hyperparams` makes has its own in its state."""
    made_by = getattr(function, "__name__", None)
    return made_by is not None and name in KEPT and (made_by, name) not in EXCEPT


def is_array(value: Any) -> bool:
    """Say whether `value` is an array of floating point numbers."""
    is_any = isinstance(value, jax.Array | np.ndarray | np.generic)
    return is_any and jnp.issubdtype(value.dtype, jnp.floating)


def is_number(value: Any) -> bool:
    """Say whether `value` is a number that can vary continuously."""
    return is_array(value) or (isinstance(value, int | float) and not isinstance(value, bool))
