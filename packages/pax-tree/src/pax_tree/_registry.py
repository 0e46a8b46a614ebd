"""Registering classes as nodes of trees, here and with JAX and PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

import pax_tree._interop.registry as _interop
from pax_tree._C import GetAttrKey

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any, TypeVar, overload

    _Class = TypeVar("_Class", bound=type)
    _Flatten = Callable[[Any], tuple[Iterable[Any], Hashable]]
    _Unflatten = Callable[[Any, Any], Any]

    @overload
    def register_dataclass(
        nodetype: _Class,
        data_fields: Sequence[str] | None = None,
        meta_fields: Sequence[str] | None = None,
        drop_fields: Sequence[str] = (),
    ) -> _Class: ...

    @overload
    def register_dataclass(
        nodetype: None = None,
        data_fields: Sequence[str] | None = None,
        meta_fields: Sequence[str] | None = None,
        drop_fields: Sequence[str] = (),
    ) -> Callable[[_Class], _Class]: ...


def _check_function(function: Any, what: str, nodetype: type) -> None:
    if not callable(function):
        raise TypeError(
            f"The {what} function of {nodetype.__name__} must be callable, but is {function!r}."
        )


def register_pytree_node(
    nodetype: type,
    flatten_func: _Flatten,
    unflatten_func: _Unflatten,
    flatten_with_keys_func: _Flatten | None = None,
) -> None:
    """Make a class a node of trees, as `jax.tree_util.register_pytree_node`.

    The class becomes a node for JAX and for PyTorch too, as soon as they are imported.

    Args:
        nodetype: the class; subclasses are not included.
        flatten_func: from an object to `(children, aux)`: an iterable of subtrees, and hashable
            static data.
        unflatten_func: from `(aux, children)` to an object.
        flatten_with_keys_func: like `flatten_func`, with `(key, child)` pairs as children.

    Raises:
        TypeError: an argument is not a class or not a function.
        ValueError: the class is a node already.

    Example:
        >>> import pax_tree
        >>> class Interval:
        ...     def __init__(self, low, high):
        ...         self.low, self.high = low, high
        >>> pax_tree.register_pytree_node(
        ...     Interval, lambda i: ((i.low, i.high), None), lambda aux, ends: Interval(*ends)
        ... )
        >>> pax_tree.tree_map(lambda end: 10 * end, Interval(1, 2)).high
        20
    """
    if not isinstance(nodetype, type):
        raise TypeError(f"Only a class can be registered as a pytree node, but got {nodetype!r}.")
    _check_function(flatten_func, "flatten", nodetype)
    _check_function(unflatten_func, "unflatten", nodetype)
    if flatten_with_keys_func is not None:
        _check_function(flatten_with_keys_func, "flatten-with-keys", nodetype)
    node = _interop.Node(flatten_func, unflatten_func, flatten_with_keys_func)
    _interop.register(nodetype, node)


def register_pytree_with_keys(
    nodetype: type,
    flatten_with_keys: _Flatten,
    unflatten_func: _Unflatten,
    flatten_func: _Flatten | None = None,
) -> None:
    """Make a class a node whose children have names, as `jax.tree_util.register_pytree_with_keys`.

    Args:
        nodetype: the class.
        flatten_with_keys: from an object to `(pairs, aux)`, with `(key, child)` pairs.
        unflatten_func: from `(aux, children)` to an object.
        flatten_func: from an object to `(children, aux)`; faster where no keys are needed.

    Raises:
        TypeError: an argument is not a class or not a function.
        ValueError: the class is a node already.

    Example:
        >>> import pax_tree
        >>> class Box:
        ...     def __init__(self, content):
        ...         self.content = content
        >>> pax_tree.register_pytree_with_keys(
        ...     Box,
        ...     lambda box: (((pax_tree.GetAttrKey("content"), box.content),), None),
        ...     lambda aux, children: Box(*children),
        ... )
        >>> [(path, leaf)] = pax_tree.tree_leaves_with_path(Box(1))
        >>> pax_tree.keystr(path), leaf
        ('.content', 1)
    """

    def flatten_without_keys(node: Any) -> tuple[Iterable[Any], Hashable]:
        pairs, aux = flatten_with_keys(node)
        return [child for _, child in pairs], aux

    plain = flatten_without_keys if flatten_func is None else flatten_func
    register_pytree_node(nodetype, plain, unflatten_func, flatten_with_keys)


def register_pytree_node_class(cls: _Class) -> _Class:
    """Make a class with `tree_flatten` and `tree_unflatten` a node; a class decorator.

    As `jax.tree_util.register_pytree_node_class`.

    Args:
        cls: a class with a method `tree_flatten()` that returns `(children, aux)` and a class method
            `tree_unflatten(aux, children)`.

    Returns:
        The class.

    Raises:
        ValueError: the class is a node already.

    Example:
        >>> import pax_tree
        >>> @pax_tree.register_pytree_node_class
        ... class Pair:
        ...     def __init__(self, x, y):
        ...         self.x, self.y = x, y
        ...
        ...     def tree_flatten(self):
        ...         return (self.x, self.y), None
        ...
        ...     @classmethod
        ...     def tree_unflatten(cls, aux, children):
        ...         return cls(*children)
        >>> pax_tree.tree_leaves(Pair(1, [2, 3]))
        [1, 2, 3]
    """
    register_pytree_node(cls, _flatten_by_method, cls.tree_unflatten)
    return cls


def register_pytree_with_keys_class(cls: _Class) -> _Class:
    """Make a class with methods a node whose children have names; a class decorator.

    As `jax.tree_util.register_pytree_with_keys_class`.

    Args:
        cls: a class with a method `tree_flatten_with_keys()` that returns `(pairs, aux)`, with
            `(key, child)` pairs, and a class method `tree_unflatten(aux, children)`; a method
            `tree_flatten()` that returns `(children, aux)` is used where no keys are needed.

    Returns:
        The class.

    Raises:
        ValueError: the class is a node already.

    Example:
        >>> import pax_tree
        >>> @pax_tree.register_pytree_with_keys_class
        ... class Pair:
        ...     def __init__(self, x, y):
        ...         self.x, self.y = x, y
        ...
        ...     def tree_flatten_with_keys(self):
        ...         x, y = pax_tree.GetAttrKey("x"), pax_tree.GetAttrKey("y")
        ...         return ((x, self.x), (y, self.y)), None
        ...
        ...     @classmethod
        ...     def tree_unflatten(cls, aux, children):
        ...         return cls(*children)
        >>> [pax_tree.keystr(path) for path, _ in pax_tree.tree_leaves_with_path(Pair(1, [2]))]
        ['.x', '.y[0]']
    """
    flatten = _flatten_by_method if hasattr(cls, "tree_flatten") else None
    register_pytree_with_keys(cls, _flatten_with_keys_by_method, cls.tree_unflatten, flatten)
    return cls


# Not by `operator.methodcaller`, which `torch.compile` cannot look into.
def _flatten_by_method(node: Any) -> tuple[Iterable[Any], Hashable]:
    return node.tree_flatten()


def _flatten_with_keys_by_method(node: Any) -> tuple[Iterable[Any], Hashable]:
    return node.tree_flatten_with_keys()


def unregister_pytree_node(cls: type) -> None:
    """Make a class what it was before it was registered: a leaf, in general.

    Structures with nodes of the class still unflatten with the functions they were made with. JAX
    and PyTorch cannot forget a class: it stays a node there, and when it is registered here again,
    they use the new functions. Where neither is imported, nothing keeps the class alive.

    Args:
        cls: a class that was registered here.

    Raises:
        TypeError: the argument is not a class.
        ValueError: the class is not registered here, or by another library only.

    Example:
        >>> import pax_tree
        >>> class Mode(str):
        ...     pass
        >>> _ = pax_tree.register_static(Mode)
        >>> pax_tree.unregister_pytree_node(Mode)
        >>> pax_tree.tree_leaves([Mode("train"), 1])
        ['train', 1]
    """
    _interop.unregister(cls)


def register_static(cls: _Class) -> _Class:
    """Make a class a node without children; a class decorator, as `jax.tree_util.register_static`.

    Args:
        cls: a class whose objects are hashable and comparable.

    Returns:
        The class.

    Raises:
        ValueError: the class is a node already.

    Example:
        >>> import pax_tree
        >>> @pax_tree.register_static
        ... class Mode(str):
        ...     pass
        >>> pax_tree.tree_leaves([Mode("train"), 1])
        [1]
    """
    register_pytree_node(
        cls, lambda value: ((), value), lambda value, _: value, lambda value: ((), value)
    )
    return cls


def register_dataclass(
    nodetype: Any = None,
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> Any:
    """Make a dataclass a node, as `jax.tree_util.register_dataclass`; a decorator or a call.

    Args:
        nodetype: the class, made again as `nodetype(**fields)`; without it, a decorator is returned.
        data_fields: the names of the fields that are children. By default, all fields but those
            made with `dataclasses.field(metadata={"static": True})`.
        meta_fields: the names of the fields that are static and hashable; given if and only if
            `data_fields` is.
        drop_fields: names of fields that are left out and get their defaults: fields with defaults, or
            with `init=False`.

    Returns:
        The class.

    Raises:
        TypeError: the fields are not given, and the class is no dataclass.
        ValueError: the fields are not those of the class, or the class is a node already.

    Example:
        >>> import dataclasses, pax_tree
        >>> @pax_tree.register_dataclass
        ... @dataclasses.dataclass
        ... class Layer:
        ...     weight: float
        ...     name: str = dataclasses.field(metadata={"static": True})
        >>> pax_tree.tree_map(lambda leaf: 2 * leaf, Layer(1.5, "dense"))
        Layer(weight=3.0, name='dense')
    """
    if nodetype is None:
        return lambda cls: register_dataclass(cls, data_fields, meta_fields, drop_fields)
    data, meta = _fields(nodetype, data_fields, meta_fields, drop_fields)
    _check_fields(nodetype, data, meta, drop_fields)
    _register(nodetype, data, meta)
    return nodetype


def static_field(**options: Any) -> Any:
    """Return a field of a dataclass that is static for `register_dataclass`, as `jax.tree.static`.

    Args:
        **options: those of `dataclasses.field`.

    Returns:
        The field, whose metadata say `static`.

    Example:
        >>> import dataclasses, pax_tree
        >>> @pax_tree.register_dataclass
        ... @dataclasses.dataclass
        ... class Layer:
        ...     weight: float
        ...     name: str = pax_tree.tree.static(default="dense")
        >>> pax_tree.tree_map(lambda leaf: 2 * leaf, Layer(1.5))
        Layer(weight=3.0, name='dense')
    """
    import dataclasses

    metadata = {"static": True, **(options.pop("metadata", None) or {})}
    return dataclasses.field(metadata=metadata, **options)


def _fields(
    nodetype: Any, data: Sequence[str] | None, meta: Sequence[str] | None, drop: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if data is not None and meta is not None:
        return tuple(data), tuple(meta)
    if (data is None) != (meta is None):
        raise TypeError(
            "register_dataclass takes both data_fields and meta_fields or neither, but got "
            f"data_fields={data!r} and meta_fields={meta!r}."
        )
    import dataclasses  # takes a third of the time in which the package is imported

    if not dataclasses.is_dataclass(nodetype):
        raise TypeError(
            f"register_dataclass takes a dataclass, but got {nodetype!r}; give data_fields and "
            "meta_fields for another class."
        )
    fields = [field for field in dataclasses.fields(nodetype) if field.name not in drop]
    static = {field.name for field in fields if field.metadata.get("static", False)}
    names = [field.name for field in fields]
    return tuple(n for n in names if n not in static), tuple(n for n in names if n in static)


def _check_fields(
    nodetype: Any, data: tuple[str, ...], meta: tuple[str, ...], drop: Sequence[str]
) -> None:
    if overlap := set(data) & set(meta):
        raise ValueError(
            f"The fields {sorted(overlap)} of {nodetype.__name__} stand in both data_fields and "
            "meta_fields; a field can be only one of the two."
        )
    import dataclasses

    if not dataclasses.is_dataclass(nodetype):
        return
    fields = {field.name: field for field in dataclasses.fields(nodetype)}
    name, given = getattr(nodetype, "__name__", repr(nodetype)), {*data, *meta}
    if unknown := ({*drop} | given) - fields.keys():
        raise ValueError(f"{name} has no fields {sorted(unknown)}; it has {sorted(fields)}.")
    if both := {*drop} & given:
        raise ValueError(
            f"The fields {sorted(both)} of {name} stand in drop_fields and in data_fields or "
            "meta_fields as well; a field can be only one of them."
        )
    if unset := {n for n in given if not fields[n].init}:
        raise ValueError(
            f"The fields {sorted(unset)} of {name} have init=False, so that it cannot be made with "
            f"them: its __init__ sets them. Leave them out by drop_fields={sorted(unset)}."
        )
    if missing := {n for n, field in fields.items() if field.init} - given - {*drop}:
        raise ValueError(
            f"The fields {sorted(missing)} of {name} are neither in data_fields nor in "
            "meta_fields; add them there, or to drop_fields if they have defaults."
        )
    if needed := {n for n in drop if fields[n].init and _has_no_default(fields[n])}:
        raise ValueError(
            f"The fields {sorted(needed)} of {name} are in drop_fields, but have no default, so "
            "that it cannot be made without them; put them into data_fields or meta_fields."
        )


def _has_no_default(field: Any) -> bool:
    import dataclasses

    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _register(nodetype: Any, data: tuple[str, ...], meta: tuple[str, ...]) -> None:
    keys = tuple(GetAttrKey(name) for name in data)

    def flatten(value: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(getattr(value, n) for n in data), tuple(getattr(value, n) for n in meta)

    def flatten_with_keys(value: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        children, aux = flatten(value)
        return tuple(zip(keys, children, strict=True)), aux

    def unflatten(aux: tuple[Any, ...], children: Sequence[Any]) -> Any:
        return nodetype(
            **dict(zip(meta, aux, strict=True)), **dict(zip(data, children, strict=True))
        )

    register_pytree_node(nodetype, flatten, unflatten, flatten_with_keys)
