"""Taking one node of a tree apart."""

from __future__ import annotations

from collections.abc import Callable

from pax_tree._C import PyTreeDef, tree_flatten_with_path

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any


def open_node(
    node: Any, is_leaf: Callable[[Any], bool] | None = None, none_is_leaf: bool = False
) -> tuple[list[tuple[Any, Any]], PyTreeDef] | None:
    """Return the children of a node with their keys, and its structure; None for a leaf."""
    if (none_is_leaf and node is None) or (is_leaf is not None and is_leaf(node)):
        return None
    pairs, structure = tree_flatten_with_path(node, lambda child: child is not node)
    if pairs and not pairs[0][0]:
        return None
    return [(path[0], child) for path, child in pairs], structure


def describe(value: Any, opened: tuple[list[Any], PyTreeDef] | None) -> str:
    """Return what stands at a place of a tree: `list of 2`, `float 0.5`, `ndarray float32[2, 3]`."""
    name = type(value).__name__
    if opened is not None:
        return "None" if value is None else f"{name} of {len(opened[0])}"
    shape, dtype = attribute(value, "shape"), attribute(value, "dtype")
    if shape is not None and dtype is not None:
        return f"{name} {dtype_name(dtype)}{list(shape)}"
    return "None" if value is None else f"{name} {short_repr(value)}"


def short_repr(value: Any, width: int = 60) -> str:
    """Return the `repr` on one line of at most `width` characters; never raises."""
    try:
        text = " ".join(repr(value).split())
    except Exception as error:
        return f"(repr raised {type(error).__name__})"
    return text if len(text) <= width else f"{text[: width - 3]}..."


def attribute(leaf: Any, name: str) -> Any:
    """Return an attribute of a leaf; None where it has none or does not want to say."""
    try:
        return getattr(leaf, name, None)
    except Exception:
        return None


def dtype_name(dtype: Any) -> str:
    """Return a dtype without its library: `float32`."""
    return str(dtype).removeprefix("torch.")
