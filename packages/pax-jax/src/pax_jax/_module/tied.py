"""Tied weights: an array stands at one place of a module, and `Shared` is a second name for it."""

from __future__ import annotations

from typing import Any

import pax_tree
from pax_jax._module.kinds import is_array
from pax_tree import Record


class Shared:
    """Declare, in a class of modules, an attribute that is the array or module at another place.

    Both names read and write one object: it is held once, so that its gradients add up, it is updated
    once and can be donated.

    Args:
        path: where it is held, from the module: names of attributes, indices of lists and keys of dicts
            with dots between them, such as "embed.weight" or "layers.0".

    Raises:
        TypeError: `path` is not a string.

    Example:
        >>> import jax.numpy as jnp
        >>> import pax_jax as pax
        >>> class Tied(pax.Module):
        ...     decode = pax.Shared("encode.weight")
        ...
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.encode = pax.Linear(3, 2, with_bias=False)
        ...
        ...     def __call__(self, x):
        ...         return self.encode(x) @ self.decode.T
        >>> net = Tied()
        >>> net.decode is net.encode.weight, len(net.state_dict())
        (True, 1)
        >>> grads = pax.grad(lambda net, x: jnp.sum(net(x)))(net, jnp.ones((1, 3)))
        >>> grads.decode is grads.encode.weight
        True
    """

    def __init__(self, path: str) -> None:
        if not isinstance(path, str) or not path:
            raise TypeError(
                f'Shared expects the path of an attribute, such as "embed.weight", got {path!r} of '
                f"type {type(path).__name__}. Declare it in the class body: "
                '`head = pax_jax.Shared("embed.weight")`.'
            )
        self.path = path
        self.name = "shared"

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, module: Any, owner: Any = None) -> Any:
        """Return what stands at the path, or this declaration when the class is asked."""
        if module is None:
            return self
        *_, found = self._follow(module, self.path.split("."))
        return found

    def __set__(self, module: Any, value: Any) -> None:
        """Put `value` at the path; both places then hold it."""
        if value is self:  # the default of a dataclass's field
            return
        parent, last = self.owner(module), self.path.rpartition(".")[2]
        if isinstance(parent, Record):
            setattr(parent, last, value)
        else:
            parent[_key(parent, last)] = value

    def owner(self, module: Any) -> Any:
        """Return what has the last part of the path as an attribute or item."""
        return self._follow(module, self.path.split(".")[:-1])[-1]

    def _follow(self, module: Any, parts: list[str]) -> list[Any]:
        """Return the module and what stands at each part of the path."""
        found = [module]
        for part in parts:
            try:
                found.append(_child(found[-1], part))
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise AttributeError(
                    f"{type(module).__name__}.{self.name} is shared with {self.path!r}, and there is "
                    f"no {part!r} in the {type(found[-1]).__name__}. Assign what is shared first."
                ) from error
        return found


def _child(parent: Any, part: str) -> Any:
    if isinstance(parent, Record):
        return getattr(parent, part)
    return parent[_key(parent, part)]


def _key(parent: Any, part: str) -> Any:
    return part if isinstance(parent, dict) else int(part)


def check_unshared(module: Any) -> None:
    """Raise if an array, or a module with arrays, is held twice by `module`.

    Raises:
        ValueError: it is; the message names both places.
    """
    leaves = pax_tree.tree_leaves(module)
    if len(set(map(id, leaves))) != len(leaves):
        _raise_if_array(module)


def _raise_if_array(module: Any) -> None:
    seen: dict[int, Any] = {}
    for path, leaf in pax_tree.tree_leaves_with_path(module):
        if not is_array(leaf):
            continue
        if id(leaf) in seen:
            raise _shared(module, seen[id(leaf)], path)
        seen[id(leaf)] = path


def _shared(module: Any, first: Any, second: Any) -> ValueError:
    first, second, owner = _shared_owner(module, tuple(first), tuple(second))
    what = "array" if is_array(owner) else type(owner).__name__
    root = type(module).__name__
    return ValueError(
        f"{root}{pax_tree.keystr(first)} and {root}{pax_tree.keystr(second)} are the same {what}. "
        "A module holds each array once. Make a copy for the second place (`jnp.copy(array)`, "
        "`copy.deepcopy(module)`), or declare it shared in the class body "
        "(`second = pax_jax.Shared('first')`)."
    )


def _shared_owner(module: Any, first: tuple, second: tuple) -> tuple[tuple, tuple, Any]:
    """Shorten both paths while they lead to one object, so that a shared module is named."""
    owner = _follow(module, first)
    while first[:-1] != second[:-1]:
        parent = _follow(module, first[:-1])
        if parent is None or parent is not _follow(module, second[:-1]):
            break
        first, second, owner = first[:-1], second[:-1], parent
    return first, second, owner


def _follow(tree: Any, path: tuple) -> Any:
    """Return what stands at `path`, or `None` where a key says nothing of how to get there."""
    for key in path:
        if isinstance(key, pax_tree.GetAttrKey):
            tree = getattr(tree, key.name)
        elif isinstance(key, pax_tree.SequenceKey):
            tree = tree[key.idx]
        elif isinstance(key, pax_tree.DictKey):
            tree = tree[key.key]
        else:
            return None
    return tree
