"""Registering dataclasses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pax_tree._C import GetAttrKey
from pax_tree._registry import register_pytree_node

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any, TypeVar, overload

    _Class = TypeVar("_Class", bound=type)

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
    name = getattr(nodetype, "__name__", repr(nodetype))
    wanted = {field.name for field in dataclasses.fields(nodetype) if field.init} - set(drop)
    if missing := wanted - {*data, *meta}:
        raise ValueError(
            f"The fields {sorted(missing)} of {name} are neither in data_fields nor in "
            "meta_fields; add them there, or to drop_fields if they have defaults."
        )
    if unknown := {*data, *meta} - wanted:
        raise ValueError(
            f"{name} has no fields {sorted(unknown)} that its __init__ takes; take them out of "
            "data_fields and meta_fields, and name them in drop_fields if there are such fields."
        )


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
