"""Trees as vectors: inner products, norms and sizes."""

from __future__ import annotations

import sys

from pax_tree._arrays import is_complex, size
from pax_tree._broadcast import flatten_up_to
from pax_tree._C import tree_flatten, tree_leaves, tree_leaves_with_path
from pax_tree._key_paths import keystr

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


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
        products.append(_sum(_conjugate(x) * y))
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
        tree without leaves.

    Example:
        >>> import pax_tree
        >>> pax_tree.tree_norm_sq({"w": 3.0, "z": [4j]})
        25.0
    """
    return _total([_sum(_square(leaf)) for leaf in tree_leaves(tree)])


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
    leaves = [leaf / 1 if _is_integer(leaf) else leaf for leaf in tree_leaves(tree)]
    torch = sys.modules.get("torch")
    if leaves and torch is not None and all(_has_torch_norm(torch, leaf) for leaf in leaves):
        norms = [torch.linalg.vector_norm(leaf) for leaf in leaves]
        return torch.linalg.vector_norm(torch.stack([n.to(norms[0].device) for n in norms]))
    return tree_norm_sq(leaves) ** 0.5


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
