"""All leaves of a tree in one vector."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from itertools import accumulate, islice

from pax_tree._arrays import array_module, is_complex, is_complex_dtype, size
from pax_tree._C import tree_flatten, tree_leaves_with_path
from pax_tree._paths import keystr

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


def tree_ravel(tree: Any, *, library: Any = None) -> tuple[Any, Callable[[Any], Any]]:
    """All leaves of a tree in one vector, and the way back, as `jax.flatten_util.ravel_pytree`.

    Args:
        tree: a tree of numbers and of arrays of one library; numbers and NumPy's arrays may stand
            among those of PyTorch or JAX.
        library: the library of the vector (`numpy`, `jax.numpy`, `torch`); by default that of the
            leaves. Needed for a vector of a tree without arrays.

    Returns:
        The vector of shape `(tree_numel(tree),)` in the dtype to which those of the leaves promote,
        and a function from such a vector to a tree like the given one: leaves have their shapes
        and dtypes again, and numbers are arrays of shape `()`. Functions for trees of one structure
        with the same shapes and dtypes are equal. A tree without arrays gives a list, unless there
        is a `library`.

    Raises:
        TypeError: a leaf is no number or array, or the leaves are of PyTorch and JAX. The function
            returned: the vector has another dtype.
        ValueError: the function returned: the vector has another shape.

    Example:
        >>> import numpy as np, pax_tree
        >>> flat, unravel = pax_tree.tree_ravel({"w": np.ones((2, 2)), "b": np.int32(3)})
        >>> flat
        array([3., 1., 1., 1., 1.])
        >>> unravel(2 * flat)
        {'w': array([[2., 2.],
               [2., 2.]]), 'b': array(6, dtype=int32)}
    """
    leaves, structure = tree_flatten(tree)
    _check_leaves(tree, leaves)
    module = _common_module(leaves) if library is None else library
    if module is None:
        return leaves, _FromList(structure)
    arrays = _as_arrays(module, leaves)
    forms = [(tuple(array.shape), array.dtype) for array in arrays]
    dtype = _promoted(module, [array.dtype for array in arrays])
    sizes = tuple(size(array) for array in arrays)
    vectors = [_reshaped(array, (n,)) for array, n in zip(arrays, sizes, strict=True)]
    flat = _concatenate(module, [_cast(vector, dtype) for vector in vectors])
    return flat, _FromVector(structure, module, dtype, sizes, tuple(forms))


class _Unravel:
    """A function that is equal to those that are made of equal parts."""

    __slots__ = ("__weakref__", "parts")

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.parts == other.parts  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self.parts)


class _FromList(_Unravel):
    """Makes a tree of a list."""

    __slots__ = ()

    def __call__(self, flat: Any) -> Any:
        (structure,) = self.parts
        return structure.unflatten(_checked_list(flat, structure.num_leaves))


class _FromVector(_Unravel):
    """Makes a tree of a vector."""

    __slots__ = ()

    def __call__(self, flat: Any) -> Any:
        structure, module, dtype, sizes, forms = self.parts
        flat = _checked(module, flat, (sum(sizes),), dtype)
        pieces = zip(_split(module, flat, list(sizes)), forms, strict=True)
        return structure.unflatten([_cast(_reshaped(x, shape), to) for x, (shape, to) in pieces])

    def __reduce__(self) -> Any:
        structure, module, *rest = self.parts
        return _from_vector, (structure, module.__name__, *rest)


def _from_vector(structure: Any, library: str, *rest: Any) -> _FromVector:
    """Return what was pickled, or copied deeply: modules cannot be."""
    return _FromVector(structure, importlib.import_module(library), *rest)


def _check_leaves(tree: Any, leaves: list[Any]) -> None:
    for i, leaf in enumerate(leaves):
        if not hasattr(leaf, "dtype") and not isinstance(leaf, int | float | complex):
            where = keystr(tree_leaves_with_path(tree)[i][0]) or "the root"
            raise TypeError(
                f"tree_ravel takes a tree of numbers and arrays, but at {where} stands a "
                f"{type(leaf).__name__}."
            )


def _common_module(leaves: list[Any]) -> Any:
    found = dict.fromkeys(map(array_module, leaves))
    special = [m for m in found if m is not None and m.__name__ != "numpy"]
    if len(special) > 1:
        raise TypeError(
            "tree_ravel takes the arrays of one library, but the leaves are of "
            f"{' and '.join(m.__name__ for m in special)}; convert one of them, or ravel them apart."
        )
    return next(iter([*special, *filter(None, found)]), None)


def _as_arrays(module: Any, leaves: list[Any]) -> list[Any]:
    """Return the leaves, with those that are not of the library as arrays of it, beside the others."""
    mine = [array_module(leaf) is module for leaf in leaves]
    options = {}
    if _is_torch(module) and any(mine):
        options["device"] = leaves[mine.index(True)].device
    return [
        leaf if is_mine else _array(module, leaf, **options)
        for leaf, is_mine in zip(leaves, mine, strict=True)
    ]


def _array(module: Any, value: Any, **options: Any) -> Any:
    return (module.as_tensor if _is_torch(module) else module.asarray)(value, **options)


def _promoted(module: Any, dtypes: list[Any]) -> Any:
    different = list(dict.fromkeys(dtypes))
    if not _is_torch(module):
        return module.result_type(*different) if different else module.zeros(0).dtype
    dtype = different[0] if different else module.get_default_dtype()
    for other in different:
        dtype = module.promote_types(dtype, other)
    return dtype


def _cast(array: Any, dtype: Any) -> Any:
    if array.dtype == dtype:
        return array
    if is_complex(array) and not is_complex_dtype(dtype):
        array = array.real
    return array.astype(dtype) if hasattr(array, "astype") else array.to(dtype)


def _concatenate(module: Any, vectors: list[Any]) -> Any:
    if not vectors:
        return module.zeros(0)
    if module.__name__ == "jax.numpy":  # whose own function takes many to join many arrays
        return sys.modules["jax.lax"].concatenate(vectors, 0)
    return module.concatenate(vectors)


def _reshaped(array: Any, shape: tuple[int, ...]) -> Any:
    return array if tuple(array.shape) == shape else array.reshape(shape)


def _split(module: Any, flat: Any, sizes: list[int]) -> list[Any]:
    if _is_torch(module):
        return list(module.split(flat, sizes))
    ends = list(accumulate(sizes))
    return module.split(flat, ends[:-1])[: len(sizes)]


def _checked(module: Any, flat: Any, shape: tuple[int], dtype: Any) -> Any:
    flat = _array(module, flat)
    if tuple(flat.shape) != shape:
        raise ValueError(f"unravel takes a vector of shape {shape}, but got {tuple(flat.shape)}.")
    if flat.dtype != dtype:
        raise TypeError(
            f"unravel takes a vector of dtype {dtype}, but got {flat.dtype}; convert it first."
        )
    return flat


def _checked_list(flat: Any, length: int) -> list[Any]:
    items = list(islice(flat, length + 1))
    if len(items) != length:
        given = len(flat) if hasattr(flat, "__len__") else "more" if items[length:] else len(items)
        raise ValueError(f"unravel takes a list of {length} numbers, but got {given}.")
    return items


def _is_torch(module: Any) -> bool:
    return module.__name__ == "torch"
