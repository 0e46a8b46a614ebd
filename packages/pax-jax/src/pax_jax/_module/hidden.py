"""Arrays and modules that a static value carries along where JAX does not see them."""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import gc
import sys
import weakref
from collections import defaultdict
from collections.abc import Iterator
from contextvars import ContextVar
from types import (
    CodeType,
    FrameType,
    FunctionType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import Any, NamedTuple

import jax
import jax.export
import numpy as np

import pax_tree
from pax_tree import Record

_NOTHING = object()
_PLAIN = (str, bytes, int, float, complex, np.generic)
# Modules of Python's library whose objects have nothing but what they were given.
_HOLDERS = ("_thread", "argparse", "collections", "concurrent", "contextlib", "functools")
_HOLDERS += ("queue", "types", "weakref")
# Whose classes have neither modules in their attributes nor slots with what they were given.
_LIBRARIES = ("builtins", "jax", "jaxlib", "numpy")
# Whose functions have no global modules of a user.
_ARRAY_LIBRARIES = {*_LIBRARIES, "ml_dtypes", "opax", "optax", "pax_jax", "pax_torch", "pax_tree"}
_ARRAY_LIBRARIES |= {"torch", "torch2jax_bridge"}
# Programs that JAX has made of functions, in which arrays are constants.
_PROGRAMS = (jax.stages.Traced, jax.stages.Lowered, jax.stages.Compiled, jax.export.Exported)
_LEADING = (Record, ModuleType, functools.partial, MethodType, list, tuple, dict, ContextVar)
# Of C: they hold what runs, not what they were given.
_RUNNING = (FrameType, TracebackType, CodeType)


class Part(NamedTuple):
    """An object that another one carries along.

    Attributes:
        where: in what, in words.
        value: the object.
        constants: whether arrays of NumPy may stand there; of JAX they may not, nor may modules.
        arrays: whether arrays count at all. Of what is global for a function they do not.
    """

    where: str
    value: Any
    constants: bool = False
    arrays: bool = True


def is_ref(value: Any) -> bool:
    """Say whether a value is a mutable array of JAX."""
    return isinstance(value, jax.Ref)


def is_program(value: Any) -> bool:
    """Say whether a value is a program that JAX has made of a function, in which arrays are constants."""
    if not any(cls.__module__.startswith("jax") for cls in type(value).__mro__):
        return False
    from jax.extend.core import ClosedJaxpr  # slow to import

    is_jaxpr = isinstance(value, ClosedJaxpr)
    return bool(value.consts) if is_jaxpr else isinstance(value, _PROGRAMS)


def is_whole(value: Any) -> bool:
    """Say whether `value` is not walked: a module, or a pytree whose class says `_is_static = True`.

    In an attribute of a module such a pytree is static, as if it had no leaves, though it may hold
    arrays: opax's transformations, which are equal where their arguments are.
    """
    return isinstance(value, Record) or says_static(value)


def says_static(value: Any) -> bool:
    """Say whether the class of `value` says that it is static in modules."""
    return getattr(type(value), "_is_static", False) is True


def find_hidden(value: Any) -> Part | None:
    """Return the first array or module inside a static value, which is no pytree; `None` without one.

    Partial functions, bound methods and wrapped functions are looked through; so are the closures,
    the defaults and the attributes of functions, and the attributes and methods of other objects. Of
    what is global for a function only modules count.
    """
    seen: dict[int, Any] = {}
    stack = [Part("it", value)]
    while stack:
        part = stack.pop()
        if part.value is None or isinstance(part.value, _PLAIN) or _is_library_class(part.value):
            continue
        if id(part.value) in seen or says_static(part.value):
            continue
        seen[id(part.value)] = part.value
        if _is_hidden(part):
            return part
        if isinstance(part.value, Record):
            continue
        children = _children(part.value)
        if children is not None:
            stack += [part._replace(value=child) for child in children]
            continue
        for inner in _parts(part.value):
            stack.append(inner._replace(arrays=inner.arrays and part.arrays))
    return None


def _children(value: Any) -> list[Any] | None:
    """Return what a node of a pytree holds, one level deep; `None` if the value is none.

    One level, since a list may hold itself.
    """
    if _is_whole_or_partial(value):
        return None
    is_first = iter((True,))
    children = pax_tree.tree_leaves(value, is_leaf=lambda _: not next(is_first, False))
    if len(children) == 1 and children[0] is value:
        return None
    return [*children, value.default_factory] if isinstance(value, defaultdict) else children


def find_hidden_in_nodes(tree: Any) -> Part | None:
    """Return what the functions hide that are static in nodes of a pytree.

    They are those of `jax.tree_util.Partial`, and those that make the missing values of dicts.
    """
    nodes: list[tuple[str, Any]] = []

    def is_leaf(value: Any) -> bool:
        if isinstance(value, functools.partial):
            nodes.append(("a partial function", value.func))
        elif isinstance(value, defaultdict):
            nodes.append(("what makes its missing values", value.default_factory))
        return is_whole(value)

    pax_tree.tree_leaves(tree, is_leaf=is_leaf)
    for where, function in nodes:
        if (hidden := find_hidden(function)) is not None:
            return hidden._replace(where=where) if hidden.where == "it" else hidden
    return None


def _is_whole_or_partial(value: Any) -> bool:
    return is_whole(value) or isinstance(value, functools.partial)


def _is_hidden(part: Part) -> bool:
    if isinstance(part.value, np.ndarray):
        return part.value.dtype != object and part.arrays and not part.constants
    if isinstance(part.value, jax.Array) or is_ref(part.value) or is_program(part.value):
        return part.arrays
    return isinstance(part.value, Record)


def _parts(value: Any) -> Iterator[Part]:
    if isinstance(value, type):
        yield from _parts_of_class(value)
        return
    if isinstance(value, ModuleType):
        own = [held for held in vars(value).values() if isinstance(held, Record)]
        yield Part(f"the Python module {value.__name__}", own)
        return
    if isinstance(value, functools.partial):
        inside = (value.func, value.args, value.keywords)
        yield Part("the arguments of a partial function", inside)
    elif isinstance(value, (set, frozenset)):
        yield Part("a set", list(value))
    elif isinstance(value, (list, tuple, dict)):  # of a class that is no node
        held = [*value, *value.values()] if isinstance(value, dict) else list(value)
        yield Part(f"a {type(value).__name__}, which is no pytree", held, True)
    elif isinstance(value, FunctionType):
        yield from _parts_of_function(value)
    elif dataclasses.is_dataclass(value):
        fields = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
        yield Part(f"a {type(value).__name__}, which is no pytree", fields)
    elif isinstance(value, weakref.ReferenceType):
        yield Part("a weak reference", value())
    elif isinstance(value, ContextVar):
        yield Part("a context variable", value.get(None))
    elif isinstance(value, BaseException):
        yield Part("an exception", value.args)
    elif not _is_of_python(type(value)):
        where = f"an attribute of a {type(value).__name__}, which is no pytree"
        yield Part(where, _attributes(value), True)
    for cls in type(value).__mro__:
        yield from _parts_of_class(cls)
    if _is_of_c(value):
        yield Part(f"a {type(value).__name__}", gc.get_referents(value))
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, (type, ModuleType)):
        yield Part(f"the method {getattr(value, '__name__', value)}, which is bound to it", owner)
    for name in ("__func__", "__wrapped__"):
        wrapped = getattr(value, name, _NOTHING)
        if wrapped is not _NOTHING:
            yield Part("a function that wraps it", wrapped)


def _attributes(value: Any) -> list[Any]:
    """Return what an object has in its attributes and slots."""
    attributes = getattr(value, "__dict__", None)
    found = list(attributes.values()) if isinstance(attributes, dict) else []
    for cls in type(value).__mro__:
        if _is_library_class(cls):
            continue
        for name, own in vars(cls).items():
            if isinstance(own, MemberDescriptorType):
                found.append(getattr(value, name, None))
    return found


def _parts_of_class(cls: type) -> Iterator[Part]:
    """Yield the modules in the attributes of a class, and what its methods depend on."""
    if _is_library(cls.__module__) or issubclass(cls, Record):
        return
    own = [held for name, held in vars(cls).items() if not name.startswith("__")]
    if issubclass(cls, enum.Enum):
        own += [member.value for member in cls]
    where = f"an attribute of the class {cls.__name__}"
    yield Part(where, [held for held in own if _may_keep_a_module(held)], arrays=False)
    yield from _parts_of_class(type(cls))
    own += [held for name, held in vars(cls).items() if name.startswith("__")]
    for held in own:
        for function in (held, *_METHODS_OF.get(type(held), lambda _: ())(held)):
            if isinstance(function, FunctionType):
                yield from _parts_of_function(function)


# What is written in a class body around functions.
_METHODS_OF: dict[type, Any] = {
    staticmethod: lambda held: (held.__func__,),
    classmethod: lambda held: (held.__func__,),
    property: lambda held: (held.fget, held.fset),
    functools.cached_property: lambda held: (held.func,),
}


def _may_keep_a_module(value: Any) -> bool:
    """Say whether an attribute of a class may lead to a module otherwise than as a method does."""
    if isinstance(value, (FunctionType, ModuleType)):
        return False
    kept = isinstance(value, (functools.partialmethod, functools.singledispatchmethod))
    return kept or _may_lead_to_a_module(value)


def _is_library(module: Any) -> bool:
    """Say whether this name is of a module of Python's library, or of one of arrays, or of this package."""
    root = str(module).partition(".")[0]
    return root in sys.stdlib_module_names - {"__main__"} or root in _ARRAY_LIBRARIES


def _is_library_class(value: Any) -> bool:
    return isinstance(value, type) and value.__module__.partition(".")[0] in _LIBRARIES


def _is_of_c(value: Any) -> bool:
    """Say whether an object of Python's library is written in C, such as iterators and views of dicts."""
    if isinstance(value, (FunctionType, functools.partial, *_RUNNING)):
        return False
    root = type(value).__module__.partition(".")[0]
    return root in sys.stdlib_module_names and not hasattr(value, "__dict__")


def _parts_of_function(function: Any) -> Iterator[Part]:
    label = f"the function {function.__qualname__}"
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield Part(f"{label}, as its variable {name!r}", cell.cell_contents)
        except ValueError:  # it has no value yet
            continue
    yield Part(f"{label}, as a default", (function.__defaults__, function.__kwdefaults__))
    yield Part(f"{label}, as an attribute", list(vars(function).values()))
    if _is_library(function.__module__):
        return
    for code in (function.__code__, *_codes_inside(function.__code__)):
        for name, value in _globals(code, function.__globals__):
            yield Part(f"{label}, as the global {name!r}", value, arrays=False)


def _globals(code: CodeType, names: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the global variables of some code that may lead to a module, with their names."""
    loaded: set[str] | None = None
    for name in code.co_names:
        value = names.get(name)
        if not _may_lead_to_a_module(value):
            continue
        loaded = _global_names(code) if loaded is None else loaded
        if name not in loaded:
            continue
        if not isinstance(value, ModuleType):
            yield name, value
        elif not _is_library(value.__name__):
            own = [vars(value).get(other) for other in code.co_names]
            yield name, list(filter(_may_lead_to_a_module, own))


def _may_lead_to_a_module(value: Any) -> bool:
    if isinstance(value, _LEADING):
        return True
    if value is None or isinstance(value, (*_PLAIN, type)):
        return False
    if isinstance(value, FunctionType) or hasattr(value, "__wrapped__"):
        return not _is_library(getattr(value, "__module__", ""))
    return not _is_library(type(value).__module__)


def _codes_inside(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes_inside(constant)


def _global_names(code: CodeType) -> set[str]:
    loads = ("LOAD_GLOBAL", "LOAD_NAME")
    return {step.argval for step in dis.get_instructions(code) if step.opname in loads}


def _is_of_python(cls: type) -> bool:
    """Say whether a class is of Python's own library, whose objects hold much else."""
    module = cls.__module__.partition(".")[0]
    return module in sys.stdlib_module_names and module not in _HOLDERS


def find_wrapped_module(value: Any) -> Any:
    """Return the module that a function wraps, or to which a method is bound, or `None`."""
    seen: set[int] = set()
    while not isinstance(value, Record) and id(value) not in seen:
        seen.add(id(value))
        owner = getattr(value, "__self__", None)
        if isinstance(owner, Record):
            return owner
        inner = ("func",) if isinstance(value, functools.partial) else ("__wrapped__", "__func__")
        value = next((getattr(value, name) for name in inner if hasattr(value, name)), value)
    return value if isinstance(value, Record) else None
