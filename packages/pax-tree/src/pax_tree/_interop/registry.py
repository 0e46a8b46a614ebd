"""One registry for this library, JAX and PyTorch, without importing either."""

from __future__ import annotations

import importlib
import sys
from collections import namedtuple

import pax_tree._C as _C

TYPE_CHECKING = False  # that of `typing`, which is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

# How a registered class is taken apart and put together:
# flatten(x) -> (children, aux), unflatten(aux, children) -> x,
# flatten_with_keys(x) -> ((key, child) pairs, aux), or None.
Node = namedtuple("Node", "flatten unflatten flatten_with_keys")

# Another library's registry, once it is imported: publish(cls, flatten, unflatten) says whether the
# class is new there; publish_record(cls); adopt(cls) -> Node or None.
Library = namedtuple("Library", "publish publish_record adopt")

# In the order in which they are asked for a class that both know.
_SOURCES = {"jax": "pax_tree._interop.jax", "torch": "pax_tree._interop.torch"}
# Part of PyTorch that is imported later, when something is compiled.
_COMPILER = "torch._dynamo"

_BASE_TYPE = 1 << 10  # Py_TPFLAGS_BASETYPE: whether subclasses can be made

_nodes: dict[type, Node] = {}  # registered here, by the last registration
_retired: set[type] = set()  # of these, the ones that are registered no more
_libraries: dict[str, Library] = {}
_published: dict[str, set[type]] = {name: set() for name in _SOURCES}
_adopted: dict[type, str] = {}
_pending = {*_SOURCES, _COMPILER}


def register(cls: type, node: Node) -> None:
    """Enters a class here and into the registry of every library that is or will be imported."""
    _C._register_node(cls, *node, False)
    _nodes[cls] = node
    try:
        for name in _libraries:
            _publish(name, cls)
    except BaseException:
        unregister(cls)
        raise
    _retired.discard(cls)
    _adopted.pop(cls, None)


def unregister(cls: type) -> None:
    """Take a class out of the registry; other libraries keep it."""
    keep = any(cls in classes for classes in _published.values())
    _C._unregister_node(cls, keep)
    if keep:
        _retired.add(cls)
    else:
        _nodes.pop(cls, None)


def keys_of(cls: type) -> Callable[[Any], tuple[list[tuple[Any, Any]], Any]]:
    """Return a function that flattens with keys, as the class is registered here at the time."""

    def flatten(value: Any) -> tuple[list[tuple[Any, Any]], Any]:
        node = _nodes[cls]
        if node.flatten_with_keys is not None:
            return node.flatten_with_keys(value)
        children, aux = node.flatten(value)
        return [(_C.FlattenedIndexKey(i), child) for i, child in enumerate(children)], aux

    return flatten


def publish_record(cls: type) -> None:
    """Enters a Record class into the registry of every library that is imported."""
    for library in _libraries.values():
        library.publish_record(cls)


def _publish(name: str, cls: type) -> None:
    if cls in _published[name]:
        return
    try:
        if _libraries[name].publish(cls, *_C._forwarders(cls)):
            _published[name].add(cls)
    except Exception as error:
        error.add_note(f"This was raised while {cls!r} was registered with {name} too.")
        raise


def shares(name: str, cls: type) -> bool:
    """Whether a library takes objects of a registered class apart as this one does."""
    if issubclass(cls, _C.Record):
        return True
    if is_registered(cls):
        return cls in _published[name]
    return _adopted.get(cls) == name


def nodes() -> dict[type, Node]:
    """Return how the classes are taken apart that are registered here."""
    return _nodes


def is_registered(cls: type) -> bool:
    """Whether a class is registered here, and was not unregistered since."""
    return cls in _nodes and cls not in _retired


def look_up(cls: type) -> None:
    """Take over a class from another library, unless it is known here."""
    if not _C._is_registered(cls) and not issubclass(cls, _C.Record):
        adopt(cls)


def adopt(cls: type) -> None:
    """Take over a class that another library or the interpreter knows and this one does not."""
    for name in _SOURCES:
        if name not in _libraries or cls in _published[name]:
            continue
        node = _libraries[name].adopt(cls)
        if node is not None:
            _C._register_node(cls, node.flatten, node.unflatten, node.flatten_with_keys, True)
            _adopted[cls] = name
            return
    if is_struct_sequence(cls):
        from pax_tree._interop.struct_sequence import node_of

        _C._register_node(cls, *node_of(cls), True)
    elif _is_array(cls):
        _C._register_leaf_type(cls)


def is_struct_sequence(cls: type) -> bool:
    """Whether objects of a class are struct sequences, such as `time.struct_time`, that can be made."""
    final_tuple = cls.__base__ is tuple and not cls.__flags__ & _BASE_TYPE
    return final_tuple and hasattr(cls, "n_sequence_fields") and "__new__" in vars(cls)


def _is_array(cls: type) -> bool:
    """Whether the class is an array of a known library: such classes are never asked about again."""
    root = str(getattr(cls, "__module__", "")).partition(".")[0]
    known = root in ("jax", "jaxlib", "torch", "numpy")
    return known and hasattr(cls, "dtype") and hasattr(cls, "shape")


def _record_classes(cls: type = _C.Record) -> list[type]:
    return [sub for direct in cls.__subclasses__() for sub in (direct, *_record_classes(direct))]


def _connect(name: str) -> None:
    """Exchanges registrations with a library that is now imported."""
    if name not in _pending:
        return
    _pending.discard(name)
    if name == _COMPILER:
        with _Warned("torch.compile does not know the functions of pax_tree"):
            importlib.import_module("pax_tree._interop.dynamo").connect()
        return
    with _Warned(f"pax_tree does not share its registry with {name}"):
        library = importlib.import_module(_SOURCES[name]).connect()
        _libraries[name] = library
        for cls in dict.fromkeys(_record_classes()):
            with _Warned(f"the record class {cls!r} is not registered with {name}"):
                library.publish_record(cls)
        for cls in [cls for cls in _nodes if cls not in _retired]:
            with _Warned(f"the class {cls!r} is not registered with {name}"):
                _publish(name, cls)
        _C._set_foreign_lookup(adopt)


class _Warned:
    """Makes an error in the exchange a warning: it must not break the library's import."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, Exception):
            return False
        import warnings

        warnings.warn(f"{self.what}, because {error!r} was raised.", RuntimeWarning, stacklevel=2)
        return True


class _Watcher:
    """Finds nothing itself; sees the import of a library and connects after it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Lets the other finders find the module, and wraps its execution."""
        if name not in _pending:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                return _connect_after(spec)
        return None


def _connect_after(spec: ModuleSpec) -> ModuleSpec:
    loader: Any = spec.loader
    execute: Callable[[ModuleType], None] = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        loader.exec_module = execute
        execute(module)
        _connect(spec.name)
        if not _pending:
            sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _Watcher)]

    loader.exec_module = exec_module
    return spec


def install() -> None:
    """Connect with what is imported already, and watches for the rest."""
    for name in sorted(_pending):
        if name in sys.modules:
            _connect(name)
    watched = any(isinstance(finder, _Watcher) for finder in sys.meta_path)
    if _pending and not watched:
        sys.meta_path.insert(0, _Watcher())
