"""`Call`, a function and its arguments as data: how a transformation or a schedule is made.

The arguments are a tree. Its leaves are the hyperparameters that may change from step to step; all
else in it is static. So a call without its hyperparameters is the structure of that tree, its
`Template`, and two optimizers that differ in their learning rates only share a compiled step.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import jax
import numpy as np
import optax
from jax.core import Tracer

import pax_tree
from opax._annotations import resolved_signature
from opax._arguments import check_arguments
from opax._masks import LABELS, UsedLabels, for_optax, is_by_path, mask_of

# The functions of optax that give each label a transformation.
_BY_LABELS = (optax.partition, optax.multi_transform)


class Call:
    """A function and its arguments by name; by itself it has no hyperparameters.

    Args:
        function: what is called.
        arguments: its arguments by name.

    Attributes:
        template: the call without the values of its hyperparameters.
        leaves: those values.
    """

    template: Template
    leaves: tuple[Any, ...]

    def __new__(cls, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        marked = {name: cls._marked(function, name, x) for name, x in arguments.items()}
        leaves, structure = pax_tree.tree_flatten(marked)
        return cls._of(Template(cls, function, structure), leaves)

    @classmethod
    def _of(
        cls, template: Template, leaves: Iterable[Any], new: Callable[..., Any] = object.__new__
    ) -> Any:
        """Make a call from its two parts."""
        call = new(cls)
        vars(call).update(template=template, leaves=tuple(leaves))
        return call

    @classmethod
    def _marked(cls, function: Callable[..., Any], name: str, value: Any) -> Any:
        """Return an argument as a tree whose leaves are hyperparameters."""
        return Static(map_items(original, value))

    @classmethod
    def bind(cls, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Make a call from its arguments as they are given."""
        parameters = signature(function)
        try:
            bound = parameters.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{getattr(function, '__name__', function)}: {_complaint(error, parameters, kwargs)}; its "
                f"arguments are {', '.join(parameters.parameters)}."
            ) from None
        check_arguments(function, bound.arguments, parameters)
        return cls(function, bound.arguments)

    @property
    def function(self) -> Callable[..., Any]:
        return self.template.function

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments by name, with the values of the hyperparameters."""
        marked = self.template.structure.unflatten(self.leaves)
        return map_items(lambda item: item.value if isinstance(item, Static) else item, marked)

    @property
    def hyperparams(self) -> dict[str, Any]:
        """The values of the hyperparameters by path."""
        return dict(zip(self.template.names, self.leaves, strict=True))

    def with_arguments(self, **arguments: Any) -> Any:
        """Return the call with some other arguments."""
        return type(self)(self.function, {**self.arguments, **arguments})

    def replaced(self, path: str, value: Any) -> Any:
        """Return the call with another argument at a path, which may be inside of an argument."""
        if path in signature(self.function).parameters:
            return self.with_arguments(**{path: value})

        def change(at: tuple[Any, ...], inner: Any) -> Any:
            name = self.template.name(at)
            if name == path:
                return value
            if isinstance(inner, Call) and path.startswith(f"{name}."):
                return inner.replaced(path.removeprefix(f"{name}."), value)
            return inner

        return self.with_arguments(
            **pax_tree.tree_map_with_path(change, self.arguments, is_leaf=_is_item)
        )

    @functools.cached_property
    def made(self) -> Any:
        """What the function of optax returns."""
        return self.made_with()

    def made_for(self, params: Any) -> Any:
        """Return what the function of optax returns with the masks of these parameters."""
        return self.made_with(**{name: mask_of(params, x) for name, x in self.masks.items()})

    @property
    def masks(self) -> dict[str, Any]:
        """The arguments that are masks by path."""
        return {name: x for name, x in self.arguments.items() if is_by_path(name, x)}

    def made_with(self, **masks: Any) -> Any:
        """Return what the function of optax returns, with other masks."""
        bound = inspect.BoundArguments(signature(self.function), {})  # type: ignore[arg-type]
        for name, value in self.arguments.items():
            bound.arguments[name] = for_optax(name, map_items(_as_optax, value))
        bound.arguments.update(masks)
        if self.function in _BY_LABELS:
            labels, transforms = self.arguments[LABELS], self.arguments["transforms"]
            bound.arguments[LABELS] = UsedLabels.of(labels, transforms)
        function = self.function.made if isinstance(self.function, Call) else self.function
        return function(*bound.args, **bound.kwargs)

    def as_optax(self) -> Any:
        """Return what optax is given where this is an argument."""
        return self

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield what stands in the arguments, at any depth, and its path."""
        leaves = pax_tree.tree_leaves_with_path(self.arguments, is_leaf=_is_item)
        for path, value in leaves:
            yield self.template.name(path), value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Call) or type(self) is not type(other):
            return NotImplemented
        return self.template == other.template and self._values == other._values

    def __ne__(self, other: object) -> bool:
        return not self == other  # of which tuples have their own

    def __hash__(self) -> int:
        return hash((self.template, self._values))

    @property
    def _values(self) -> tuple[Static, ...]:
        return tuple(map(Static, self.leaves))

    def __repr__(self) -> str:
        shown = []
        for name, value in self.arguments.items():
            kind = signature(self.function).parameters[name].kind
            value = map_items(lambda item: _Text(show(item)), value)
            if kind is kind.VAR_POSITIONAL:
                shown += map(repr, value)
            elif kind is kind.VAR_KEYWORD:
                shown += [f"{key}={item!r}" for key, item in value.items()]
            else:
                shown.append(f"{name}={value!r}")
        return f"{show(self.function)}({', '.join(shown)})"

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.function, self.arguments)


@dataclass(frozen=True, repr=False)
class Template:
    """A call without the values of its hyperparameters: the static part of an optimizer."""

    kind: Any
    function: Callable[..., Any]
    structure: Any

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The paths of the hyperparameters: `learning_rate`, or `1.learning_rate` in a chain."""
        numbered = self.structure.unflatten(range(self.structure.num_leaves))
        return tuple(self.name(path) for path, _ in pax_tree.tree_leaves_with_path(numbered))

    def name(self, path: tuple[Any, ...]) -> str:
        """Return the path of what stands in the arguments; `*args` are called by number alone."""
        kind = signature(self.function).parameters[path[0].key].kind
        path = path[1:] if kind in (kind.VAR_POSITIONAL, kind.VAR_KEYWORD) else path
        return pax_tree.keystr(path, simple=True, separator=".")

    def fill(self, leaves: Iterable[Any]) -> Any:
        """Return the call with these hyperparameters."""
        return self.kind._of(self, leaves)

    def fill_by_name(self, hyperparams: Mapping[str, Any]) -> Any:
        """Return the call with these hyperparameters."""
        return self.fill([hyperparams[name] for name in self.names])

    def __repr__(self) -> str:
        return repr(self.fill([_Text("...")] * self.structure.num_leaves))

    def __deepcopy__(self, memo: Any) -> Template:
        return self


@pax_tree.register_static
@dataclass(frozen=True, eq=False)
class Static:
    """A value that is part of the structure; equal to another of equal types and contents."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and _key(self.value) == _key(other.value)

    def __hash__(self) -> int:
        return hash(_key(self.value))


def counterpart(
    name: str, function: Any, kind: Any, called: Any = None, **fixed: Any
) -> Callable[..., Any]:
    """Make a function of the same arguments that returns the call as data.

    Args:
        name: its name.
        function: whose arguments and documentation it has.
        kind: the class of the calls.
        called: what is called in place of `function`.
        **fixed: arguments.
    """
    called = function if called is None else called

    @functools.wraps(function, updated=())
    def make(*args: Any, **kwargs: Any) -> Any:
        call = kind.bind(called, args, {**fixed, **kwargs})
        _ = call.made  # what optax refuses, it refuses now
        return call

    same = signature(functools.partial(function, **fixed) if fixed else function)
    returns = getattr(kind, "returns", kind)
    make.__signature__ = same.replace(return_annotation=returns)  # type: ignore[attr-defined]
    make.__name__ = name
    if not fixed:
        make.optax_function = called  # type: ignore[attr-defined]
    return make


def _complaint(error: TypeError, parameters: inspect.Signature, kwargs: dict[str, Any]) -> str:
    """Say what is wrong with a call, beginning with names that the function does not have."""
    known = parameters.parameters
    takes_all = any(each.kind is each.VAR_KEYWORD for each in known.values())
    unknown = [repr(name) for name in kwargs if name not in known and not takes_all]
    return f"got the unknown argument {', '.join(unknown)}" if unknown else str(error)


_signatures: weakref.WeakKeyDictionary[Any, inspect.Signature] = weakref.WeakKeyDictionary()


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function; that of a function or a class is remembered with it."""
    if not isinstance(function, FunctionType | type):
        return resolved_signature(function)
    known = _signatures.get(function)
    if known is None:
        known = _signatures[function] = resolved_signature(function)
    return known


def map_items(change: Callable[[Any], Any], value: Any) -> Any:
    """Change what stands in dicts, lists and tuples, at any depth of `value`."""
    return pax_tree.tree_map(change, value, is_leaf=_is_item)


def items(value: Any) -> list[Any]:
    """Return what stands in dicts, lists and tuples, at any depth of `value`."""
    return pax_tree.tree_leaves(value, is_leaf=_is_item)


def given(tx: Any) -> Any:
    """Return a transformation that was not made here; what `from_optax` calls."""
    return tx


def original(value: Any) -> Any:
    """Return optax's function for opax's of the same name, which cannot be pickled; else `value`."""
    return vars(value).get("optax_function", value) if inspect.isfunction(value) else value


def show(value: Any) -> str:
    """Write an argument; of functions the name."""
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        is_known = not value.ndim and not isinstance(value, Tracer)
        return str(value) if is_known else f"{value.dtype}[{','.join(map(str, value.shape))}]"
    return getattr(value, "__name__", None) or repr(value)


class _Text(str):
    """What prints without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _as_optax(value: Any) -> Any:
    return value.as_optax() if isinstance(value, Call) else value


def _is_item(value: Any) -> bool:
    return type(value) not in (dict, list, tuple)


def _key(value: Any) -> Any:
    """Return what can be hashed, and is equal where contents and types are; of arrays the identity."""
    if isinstance(value, dict):
        return type(value), tuple((key, _key(item)) for key, item in value.items())
    if isinstance(value, list | tuple) and not isinstance(value, Call):
        return type(value), tuple(map(_key, value))
    try:
        hash(value)
    except TypeError:
        return id(value)
    return type(value), value
