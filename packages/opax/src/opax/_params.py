"""Parameters, gradients, updates and states: trees whose leaves stand at the same paths.

Their static parts may differ: a module in evaluation mode has another structure than in training
mode, and its optimizer is the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax

import pax_tree
from pax_jax import Module, select_parameters, update_parameters
from pax_tree._describe import dtype_and_shape

T = TypeVar("T")


@contextmanager
def usual_promotion() -> Iterator[None]:
    """Run optax's own arithmetic (`decay**count`, say) under JAX's default promotion.

    A user may have set JAX's strict promotion, which optax does not obey.
    """
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def trainable(tree: Any) -> Any:
    """Return `tree` with `None` for every leaf that is no parameter, or has no derivative."""
    return pax_tree.tree_map(
        lambda x: x if _is_differentiable(x) else None, select_parameters(tree)
    )


def _is_differentiable(leaf: Any) -> bool:
    if isinstance(leaf, type):
        raise TypeError(
            f"The parameters of an optimizer are those of an instance, got the class {leaf.__name__}: "
            f"make one first (`{leaf.__name__}(...)`)."
        )
    if isinstance(leaf, float | complex):
        return True
    if not hasattr(leaf, "dtype"):
        return False
    try:
        return jnp.issubdtype(leaf.dtype, jnp.inexact)
    except TypeError:
        raise TypeError(
            f"The parameters of an optimizer are arrays of JAX or NumPy, got a {type(leaf).__name__} "
            f"{dtype_and_shape(leaf)}; convert it by jnp.asarray, or use functional_optimizer of "
            "pax_torch for parameters of PyTorch."
        ) from None


@pax_tree.register_static
class Structure:
    """The structure of the parameters that an optimizer was made for.

    The structure of a placeholder is equal to every other. `optax.tree.map_params` makes a state for
    a placeholder instead of parameters, and walks it together with a real state, to find what
    stands at the places of parameters. For that, the two states must have equal structures.

    Attributes:
        treedef: the structure; None where it is not checked.
        is_placeholder: whether there was something without leaves, and no container, for parameters.
        like: the parameters without their values, or None where these are not known. It says nothing
            about equality, nor do `integers`.
        integers: the paths of parameters of integer types, which have no derivative, and their dtypes.
        replaced: of an optimizer that `Transformation.init` made, the paths of the hyperparameters
            that were replaced since; None of others.
        placement: where the state is kept, and the parameters; None where that is left to JAX.
    """

    replaced: frozenset[str] | None = None
    placement: Any = None

    def __init__(
        self,
        treedef: Any,
        is_placeholder: bool = False,
        like: Any = None,
        integers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.treedef, self.is_placeholder = treedef, is_placeholder
        self.like, self.integers = like, integers

    @classmethod
    def of(cls, given: Any) -> Structure:
        """Return the structure of parameters."""
        params = trainable(given)
        like = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), params
        )
        # Lookahead's parameters are two of each, and its gradients are of the first only.
        if isinstance(params, optax.LookaheadParams):
            return cls(None, like=like)
        treedef = pax_tree.tree_structure(params)
        is_container = params is None or isinstance(params, dict | list | tuple | Module)
        is_placeholder = not treedef.num_leaves and not is_container
        return cls(treedef, is_placeholder, like, _integers(given))

    def noting(self) -> Structure:
        """Return the structure of an optimizer in which it is noted what is replaced."""
        return self.but(replaced=frozenset())

    def with_replaced(self, path: str) -> Structure:
        """Return the structure with a hyperparameter noted as replaced, where that is noted."""
        if self.replaced is None or not path:
            return self
        return self.but(replaced=self.replaced | {path})

    def placed(self, state: Any) -> Any:
        """Return a state on the devices where it is kept."""
        return state if self.placement is None else self.placement.spread(state)

    def but(self, **changes: Any) -> Structure:
        """Return the structure with some attributes changed."""
        changed = copy.copy(self)
        vars(changed).update(changes)
        return changed

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Structure):
            return NotImplemented
        if self.is_placeholder or other.is_placeholder:
            return True
        mine = (self.treedef, self.replaced, self.placement)
        return mine == (other.treedef, other.replaced, other.placement)

    def __hash__(self) -> int:
        return hash(Structure)


def _integers(params: Any) -> tuple[tuple[str, str], ...]:
    leaves = pax_tree.tree_leaves_with_path(select_parameters(params))
    dtypes = [(pax_tree.keystr(path), getattr(x, "dtype", type(x).__name__)) for path, x in leaves]
    return tuple((path, str(x)) for path, x in dtypes if str(x).startswith(("int", "uint")))


def aligned(what: str, tree: Any, made_for: Structure) -> Any:
    """Return `tree` in the structure of the parameters that the optimizer was made for.

    Raises:
        ValueError: the leaves do not stand at the same paths; the message names the first that differs.
    """
    leaves, own = pax_tree.tree_flatten(tree)
    if made_for.treedef is None or own == made_for.treedef:
        return tree
    leaves, own = pax_tree.tree_flatten(trainable(tree))
    wanted = _paths(made_for.treedef)
    given = _paths(own)
    if given != wanted:
        raise ValueError(_difference(what, given, wanted, dict(made_for.integers)))
    return pax_tree.tree_unflatten(made_for.treedef, leaves)


def check_order(grads: Any, model: Any, made_for: Structure) -> None:
    """Check that gradients and model are not given for each other.

    A model may have arrays that are no parameters, and gradients have none there.

    Raises:
        ValueError: the gradients have more leaves than there are parameters, and the model has not.
    """
    count = made_for.treedef.num_leaves if made_for.treedef is not None else None
    if count is None or len(pax_tree.tree_leaves(grads)) <= count:
        return
    if len(pax_tree.tree_leaves(model)) <= count:
        wanted = set(_paths(made_for.treedef))
        paths = [pax_tree.keystr(path) for path, _ in pax_tree.tree_leaves_with_path(grads)]
        path = next(path for path in paths if path not in wanted)
        raise ValueError(
            f"What was given for the gradients has an array at {path}, which is no parameter, and what was "
            "given for the model has none there: they seem to be given for each other. The order is "
            "`optimizer.step(grads, model)` and `opax.apply_gradients(model, optimizer, grads)`."
        )


def like(tree: Any, other: Any) -> Any:
    """Return the leaves of `other`, one for each parameter in `tree`, in the structure of `tree`."""
    leaves, structure = pax_tree.tree_leaves(other), pax_tree.tree_structure(tree)
    if structure.num_leaves != len(leaves):  # `tree` has leaves that are no parameters
        structure = pax_tree.tree_structure(trainable(tree))
    return pax_tree.tree_unflatten(structure, leaves)


def check_like(grads: Any, params: Any, with_examples: bool) -> None:
    """Check that gradients have the shapes of parameters of the same structure, and fit their dtypes.

    Args:
        grads: gradients.
        params: parameters.
        with_examples: whether one axis more in front, of examples, is taken.

    Raises:
        ValueError: one has another shape.
        TypeError: one is complex, and its parameter is not.
    """
    pairs = zip(pax_tree.tree_leaves(grads), pax_tree.tree_leaves(params), strict=True)
    for i, (grad, param) in enumerate(pairs):
        shape, given = jnp.shape(param), jnp.shape(grad)
        if given != shape and not (with_examples and given[1:] == shape):
            raise ValueError(_other_shape(params, i, given, shape))
        if grad.dtype != getattr(param, "dtype", None) if hasattr(grad, "dtype") else False:
            _check_dtype(params, i, grad.dtype, jnp.result_type(param))


def _other_shape(params: Any, i: int, given: tuple[int, ...], shape: tuple[int, ...]) -> str:
    remedy = "differentiate with respect to the parameters given here"
    if given[1:] == shape:
        remedy = (
            f"they look like the gradients of {given[0]} examples, which only those of "
            "`opax.contrib.differentially_private_aggregate` and `dpsgd` may be: take the mean over the "
            "first axis"
        )
    return f"The gradient at {_path(params, i)} has the shape {given}, and the parameter {shape}: {remedy}."


def _check_dtype(params: Any, i: int, given: Any, wanted: Any) -> None:
    if jnp.issubdtype(given, jnp.complexfloating) and not jnp.issubdtype(
        wanted, jnp.complexfloating
    ):
        raise TypeError(
            f"The gradient at {_path(params, i)} has the dtype {given}, and the parameter {wanted}: take "
            "its real part (`grads = jax.tree.map(jnp.real, grads)`)."
        )


def check_state(old: Any, new: Any) -> Any:
    """Return a state that is to take the place of another, in the structure of that.

    Raises:
        ValueError: they differ in structure, or an array in shape or dtype; the message names the path.
    """
    difference = _first_difference(_nodes(old), _nodes(new)) or _first_difference(
        _arrays(old), _arrays(new)
    )
    if difference is None:
        return jax.tree.unflatten(jax.tree.structure(old), jax.tree.leaves(new))
    path, wanted, given = difference
    raise ValueError(
        f"This state is that of another optimizer, or for other parameters: it has {given} at "
        f"{path or 'the root'}, where this optimizer has {wanted}."
    )


def _first_difference(old: dict[str, str], new: dict[str, str]) -> tuple[str, str, str] | None:
    for path in [*old, *new]:
        wanted, given = old.get(path, "nothing"), new.get(path, "nothing")
        if wanted != given:
            return path, wanted, given
    return None


def _nodes(state: Any) -> dict[str, str]:
    """Return the types of the states in a chain by path."""
    inner = jax.tree_util.tree_leaves_with_path(
        state, is_leaf=lambda x: x is not state and hasattr(x, "_fields")
    )
    types = {jax.tree_util.keystr(path): type(x).__name__ for path, x in inner}
    return {"": type(state).__name__, **types}


def _arrays(state: Any) -> dict[str, str]:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): dtype_and_shape(x, ", ") for path, x in leaves}


def _path(tree: Any, index: int) -> str:
    return pax_tree.keystr(pax_tree.tree_leaves_with_path(tree)[index][0]) or "the root"


def _paths(structure: Any) -> list[str]:
    numbered = pax_tree.tree_unflatten(structure, range(structure.num_leaves))
    return [pax_tree.keystr(path) for path, _ in pax_tree.tree_leaves_with_path(numbered)]


def _difference(what: str, given: list[str], wanted: list[str], integers: dict[str, str]) -> str:
    missing = [path for path in wanted if path not in set(given)]
    extra = [path for path in given if path not in set(wanted)]
    for path in extra if not missing else ():
        if path in integers:
            return (
                f"The parameter at {path or 'the root'} is of the integer type {integers[path]}, which "
                "has no derivative: make it a floating point number, and the optimizer for that."
            )
    problem = "nothing" if missing else "an array"
    path = (missing or extra or wanted)[0] or "the root"
    expected = "an array" if missing else "none"
    return (
        f"The {what} have {problem} at {path}, where the parameters that the optimizer was made for "
        f"have {expected}. Make the optimizer for the parameters it is to train "
        "(`opax.adam(1e-3)(model.parameters())`), again after a freeze or unfreeze."
    )


def apply_updates(params: T, updates: Any) -> T:
    """Add updates to parameters, keeping the parameters' dtypes; as `optax.apply_updates`.

    Args:
        params: parameters, a pytree of arrays; what is no parameter in it is kept.
        updates: a pytree with a leaf of the same shape for each parameter.

    Returns:
        The new parameters, in the structure of `params`.

    Example:
        >>> import jax.numpy as jnp
        >>> import opax
        >>> opax.apply_updates({"w": jnp.zeros(2)}, {"w": jnp.ones(2)})
        {'w': Array([1., 1.], dtype=float32)}
    """
    kept = params
    if len(pax_tree.tree_leaves(params)) != len(pax_tree.tree_leaves(updates)):
        kept = trainable(params)
    with usual_promotion():
        new: Any = optax.apply_updates(kept, like(kept, updates))  # type: ignore[arg-type]
    return new if kept is params else update_parameters(params, new)


def where_finite(all_finite: Any, new: T, old: T) -> T:
    """Return `new` where `all_finite` is true, else `old`."""
    return jax.tree.map(lambda a, b: jnp.where(all_finite, a, b), new, old)


def with_dtypes(state: Any, like_state: Any) -> Any:
    """Keep the precision of a state, which optax lets drift for parameters of low precision.

    The kind of a dtype is what optax makes it: an integer that becomes a float is one.
    """
    leaves, structure = jax.tree.flatten(state)
    old = jax.tree.leaves(like_state)
    if len(old) != len(leaves):
        return state
    return jax.tree.unflatten(structure, list(map(_in_precision_of, leaves, old)))


def _in_precision_of(new: Any, old: Any) -> Any:
    wanted, given = getattr(old, "dtype", None), getattr(new, "dtype", None)
    if wanted == given or wanted is None or given is None:
        return new
    for kind in (jnp.floating, jnp.integer, jnp.complexfloating):
        if jnp.issubdtype(wanted, kind) and jnp.issubdtype(given, kind):
            return new.astype(wanted)
    return new


def unaliased(state: Any, params: Any) -> Any:
    """Copy the arrays of `state` that also stand in `params`, or twice in `state`."""
    seen = set(map(id, pax_tree.tree_leaves(params)))

    def once(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and id(leaf) in seen:
            return jnp.copy(leaf)
        seen.add(id(leaf))
        return leaf

    return jax.tree.map(once, state)
