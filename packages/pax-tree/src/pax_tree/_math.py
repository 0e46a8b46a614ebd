"""Trees as vectors: sums, multiples, inner products and norms; and reductions of their leaves."""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable

from pax_tree._arrays import array_module, is_complex, size
from pax_tree._C import tree_flatten, tree_leaves, tree_leaves_with_path, tree_map
from pax_tree._paths import keystr
from pax_tree._structures import flatten_up_to

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _Tree = TypeVar("_Tree")


def tree_add(a: _Tree, b: Any, alpha: Any = 1) -> _Tree:
    """Return the tree `a + alpha * b`, as `torch.add` and `optax.tree.add_scale`.

    Args:
        a: a tree of numbers or arrays.
        b: a tree of the same structure; its leaves must broadcast with those of `a`.
        alpha: a number, or an array that broadcasts with all leaves.

    Returns:
        A tree of the structure of `a`; dtypes are those that the leaves' own operators give.

    Raises:
        ValueError: the trees differ in structure.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_add({"w": 1.0, "b": [2.0]}, {"w": 10.0, "b": [20.0]}, alpha=0.5)
        {'w': 6.0, 'b': [12.0]}
    """
    if type(alpha) is int and alpha == 1:
        return tree_map(operator.add, a, b)
    return tree_map(lambda x, y: x + alpha * y, a, b)


def tree_subtract(a: _Tree, b: Any) -> _Tree:
    """Return the tree `a - b`, as `optax.tree.sub`.

    Args:
        a: a tree of numbers or arrays.
        b: a tree of the same structure; its leaves must broadcast with those of `a`.

    Returns:
        A tree of the structure of `a`.

    Raises:
        ValueError: the trees differ in structure.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_subtract({"w": 1.0, "b": [2]}, {"w": 0.5, "b": [3]})
        {'w': 0.5, 'b': [-1]}
    """
    return tree_map(operator.sub, a, b)


def tree_neg(tree: _Tree) -> _Tree:
    """Return the tree `-tree`.

    Args:
        tree: a tree of numbers or arrays.

    Returns:
        A tree of the same structure.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_neg({"w": 1.0, "b": [-2]})
        {'w': -1.0, 'b': [2]}
    """
    return tree_map(operator.neg, tree)


def tree_scale(scalar: Any, tree: _Tree) -> _Tree:
    """Return the tree `scalar * tree`, as `optax.tree.scale`.

    Args:
        scalar: a number, or an array that broadcasts with all leaves.
        tree: a tree of numbers or arrays.

    Returns:
        A tree of the same structure.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_scale(0.5, {"w": 1.0, "b": [4]})
        {'w': 0.5, 'b': [2.0]}
    """
    return tree_map(lambda leaf: scalar * leaf, tree)


def tree_zeros_like(tree: _Tree) -> _Tree:
    """Return the tree with zeros in place of all numbers, as `optax.tree.zeros_like`.

    Args:
        tree: a tree of numbers or arrays.

    Returns:
        A tree of the same structure; leaves keep their shape, dtype and device.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_zeros_like({"w": 1.5, "b": [2, True, None]})
        {'w': 0.0, 'b': [0, False, None]}
    """
    return tree_map(_zeros_like, tree)


def _zeros_like(leaf: Any) -> Any:
    module = array_module(leaf)
    if module is not None:
        return module.zeros_like(leaf)
    return type(leaf)() if isinstance(leaf, int | float | complex) else 0 * leaf


def tree_sum(tree: Any) -> Any:
    """Return the sum of all elements of all leaves, as `optax.tree.sum`.

    Args:
        tree: a tree of numbers or arrays.

    Returns:
        A number or an array of shape `()`, of the dtype that the leaves' own `sum` and `+` give; 0
        for a tree without leaves.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_sum({"w": 1.5, "b": [2, None]})
        3.5
    """
    return _total([_sum(leaf) for leaf in tree_leaves(tree)])


def tree_dot(a: Any, b: Any) -> Any:
    """Return the inner product of two trees, as `optax.tree.vdot`: complex numbers of `a` are conjugated.

    Args:
        a: a tree of numbers or arrays.
        b: a tree of the same structure and shapes.

    Returns:
        A number or an array of shape `()`: the sum of `conj(a) * b`; 0 for trees without leaves.
        Arrays of integers become floating-point first, those of 64 bits in double precision, so that
        their products do not overflow.

    Raises:
        ValueError: the trees differ in structure, or two leaves in shape; the message says where.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_dot({"w": 2.0, "z": [1j]}, {"w": 3.0, "z": [1j]})
        (7+0j)
    """
    leaves, structure = tree_flatten(a)
    problem = "tree_dot: the trees must have the same structure, but they"
    others = flatten_up_to(structure, b, problem)
    products = []
    for i, (x, y) in enumerate(zip(leaves, others, strict=True)):
        if getattr(x, "shape", ()) != getattr(y, "shape", ()):
            raise ValueError(_shapes_differ(a, i, x, y))
        products.append(_sum(_conjugate(_inexact(x)) * _inexact(y)))
    return _total(products)


def _shapes_differ(tree: Any, index: int, x: Any, y: Any) -> str:
    where = keystr(tree_leaves_with_path(tree)[index][0]) or "the root"
    shapes = " and ".join(str(list(getattr(leaf, "shape", ()))) for leaf in (x, y))
    return f"tree_dot: leaves must have the same shape, but at {where} they have {shapes}."


def tree_norm_sq(tree: Any) -> Any:
    """Return the squared Euclidean norm, as `optax.tree.norm(tree, squared=True)`.

    Args:
        tree: a tree of numbers or arrays.

    Returns:
        A real number or an array of shape `()`: the sum of `abs(x) ** 2` over all elements; 0 for a
        tree without leaves. Arrays of integers become floating-point first, as for `tree_norm`.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_norm_sq({"w": 3.0, "z": [4j]})
        25.0
    """
    return _total([_sum(_square(_inexact(leaf))) for leaf in tree_leaves(tree)])


def tree_norm(tree: Any) -> Any:
    """Return the Euclidean norm of all elements, as `optax.tree.norm`.

    Args:
        tree: a tree of numbers or arrays.

    Returns:
        A real number or an array of shape `()`; 0.0 for a tree without leaves. For floating-point
        tensors of PyTorch the derivative at zero is 0, elsewhere it is NaN, as optax's. Arrays of
        integers become floating-point first, so that their squares do not overflow.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_norm({"w": 3.0, "b": [4.0]})
        5.0
    """
    leaves = [_inexact(leaf) for leaf in tree_leaves(tree)]
    torch = sys.modules.get("torch")
    if leaves and torch is not None and all(_has_torch_norm(torch, leaf) for leaf in leaves):
        norms = [torch.linalg.vector_norm(leaf) for leaf in leaves]
        return torch.linalg.vector_norm(torch.stack([n.to(norms[0].device) for n in norms]))
    return tree_norm_sq(leaves) ** 0.5


def _inexact(leaf: Any) -> Any:
    """Return a leaf, an array of integers as one of floating-point numbers.

    Of 64 bits become double precision, as NumPy's and JAX's do by themselves: squares of them are
    beyond the range of single precision.
    """
    if not _is_integer(leaf):
        return leaf
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(leaf, torch.Tensor) or leaf.dtype.itemsize < 8:
        return leaf / 1
    return leaf / 1 if leaf.device.type == "mps" else leaf.to(torch.float64)  # MPS has no double


def _is_integer(leaf: Any) -> bool:
    """Whether a leaf is an array of integers or booleans."""
    dtype = getattr(leaf, "dtype", None)
    kind = getattr(dtype, "kind", None)
    if dtype is None or kind is not None:
        return kind is not None and kind in "biu"
    return not (dtype.is_floating_point or dtype.is_complex)


def _has_torch_norm(torch: Any, leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and (leaf.is_floating_point() or leaf.is_complex())


def tree_numel(tree: Any) -> int:
    """Return the number of elements of all leaves, as `optax.tree.size`.

    Args:
        tree: a tree of numbers or arrays.

    Returns:
        The number; a leaf without a shape counts as one.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_numel({"w": 1.0, "b": [2.0, None]})
        2
    """
    return sum(map(size, tree_leaves(tree)))


def _sum(leaf: Any) -> Any:
    return leaf.sum() if hasattr(leaf, "shape") else +leaf


def _conjugate(leaf: Any) -> Any:
    if not is_complex(leaf):
        return leaf
    return leaf.conj() if hasattr(leaf, "conj") else leaf.conjugate()


def _square(leaf: Any) -> Any:
    return leaf.real * leaf.real + leaf.imag * leaf.imag if is_complex(leaf) else leaf * leaf


def _total(terms: list[Any]) -> Any:
    return sum(terms[1:], terms[0]) if terms else 0


_MISSING: Any = object()


def tree_reduce(
    function: Callable[[Any, Any], Any],
    tree: Any,
    initializer: Any = _MISSING,
    is_leaf: Callable[[Any], bool] | None = None,
    *,
    none_is_leaf: bool = False,
) -> Any:
    """Combine the leaves of a tree from the first to the last, as `jax.tree_util.tree_reduce`.

    Args:
        function: called as `function(so_far, leaf)`.
        tree: the tree.
        initializer: what to begin with; by default the first leaf.
        is_leaf: as for `tree_leaves`.
        none_is_leaf: as for `tree_leaves`.

    Returns:
        The last result.

    Raises:
        TypeError: there are no leaves and no initializer.

    Example:
        >>> import operator, pax_tree
        >>> pax_tree.tree_reduce(operator.add, {"a": 1, "b": [2, 3]})
        6
    """
    leaves = tree_leaves(tree, is_leaf, none_is_leaf=none_is_leaf)
    if initializer is not _MISSING:
        return functools.reduce(function, leaves, initializer)
    if not leaves:
        raise TypeError("tree_reduce needs an initializer for a tree without leaves.")
    return functools.reduce(function, leaves)


def tree_reduce_associative(
    operation: Callable[[Any, Any], Any],
    tree: Any,
    *,
    identity: Any = _MISSING,
    is_leaf: Callable[[Any], bool] | None = None,
    none_is_leaf: bool = False,
) -> Any:
    """Combine the leaves of a tree in pairs, as `jax.tree_util.tree_reduce_associative`.

    Args:
        operation: called as `operation(a, b)` with what stands side by side; it must be
            associative. As few results as can be depend on each other.
        tree: the tree.
        identity: the result for a tree without leaves.
        is_leaf: as for `tree_leaves`.
        none_is_leaf: as for `tree_leaves`.

    Returns:
        The last result.

    Raises:
        TypeError: there are no leaves and no identity.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_reduce_associative(lambda a, b: f"({a}{b})", ["a", "b", ["c", "d"]])
        '((ab)(cd))'
    """
    leaves = tree_leaves(tree, is_leaf, none_is_leaf=none_is_leaf)
    if leaves:
        return _combined(operation, leaves)
    if identity is _MISSING:
        raise TypeError("tree_reduce_associative needs an identity for a tree without leaves.")
    return identity


def _combined(operation: Callable[[Any, Any], Any], items: list[Any]) -> Any:
    if len(items) == 1:
        return items[0]
    half = len(items) // 2
    return operation(_combined(operation, items[:half]), _combined(operation, items[half:]))


def tree_all(
    tree: Any, *, is_leaf: Callable[[Any], bool] | None = None, none_is_leaf: bool = False
) -> bool:
    """Whether all leaves of a tree are true, as `jax.tree_util.tree_all`.

    Args:
        tree: the tree.
        is_leaf: as for `tree_leaves`.
        none_is_leaf: as for `tree_leaves`; a None is then not true.

    Returns:
        True for a tree without leaves.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_all({"a": True, "b": [1, None]}), pax_tree.tree_all([True, 0])
        (True, False)
    """
    return all(tree_leaves(tree, is_leaf, none_is_leaf=none_is_leaf))


def tree_any(
    tree: Any, *, is_leaf: Callable[[Any], bool] | None = None, none_is_leaf: bool = False
) -> bool:
    """Whether any leaf of a tree is true; the counterpart of `tree_all`.

    Args:
        tree: the tree.
        is_leaf: as for `tree_leaves`.
        none_is_leaf: as for `tree_leaves`; a None is then not true.

    Returns:
        False for a tree without leaves.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_any({"a": False, "b": [1, None]}), pax_tree.tree_any([])
        (True, False)
    """
    return any(tree_leaves(tree, is_leaf, none_is_leaf=none_is_leaf))
