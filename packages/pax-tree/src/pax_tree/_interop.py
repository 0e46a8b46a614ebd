"""One registry for this library, JAX and PyTorch, without importing either."""

from __future__ import annotations

import importlib
import sys
from collections import namedtuple
from typing import TYPE_CHECKING, Any

from pax_tree import _C

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

# How a registered class is taken apart and put together:
# flatten(x) -> (children, aux), unflatten(aux, children) -> x,
# flatten_with_keys(x) -> ((key, child) pairs, aux), or None.
Node = namedtuple("Node", "flatten unflatten flatten_with_keys")

# Another library's registry, once it is imported: publish(cls, node), publish_record(cls),
# adopt(cls) -> Node or None.
Library = namedtuple("Library", "publish publish_record adopt")


_nodes: dict[type, Node] = {}
_libraries: dict[str, Library] = {}
_pending = {"jax": "pax_tree._interop_jax", "torch": "pax_tree._interop_torch"}


def publish(cls: type, node: Node) -> None:
    """Enters a class into the registry of every library that is or will be imported."""
    _nodes[cls] = node
    for library in _libraries.values():
        library.publish(cls, node)


def publish_record(cls: type) -> None:
    """Enters a Record class into the registry of every library that is imported."""
    for library in _libraries.values():
        library.publish_record(cls)


def adopt(cls: type) -> None:
    """Takes over a class that another library knows and this one does not."""
    for library in _libraries.values():
        node = library.adopt(cls)
        if node is not None:
            _C._register_node(cls, node.flatten, node.unflatten, node.flatten_with_keys, True)
            return
    if _is_array(cls):
        _C._register_leaf_type(cls)


def _is_array(cls: type) -> bool:
    """Whether the class is an array of a known library: such classes are never asked about again."""
    root = str(getattr(cls, "__module__", "")).partition(".")[0]
    known = root in ("jax", "jaxlib", "torch", "numpy")
    return known and hasattr(cls, "dtype") and hasattr(cls, "shape")


def _record_classes(cls: type = _C.Record) -> list[type]:
    return [sub for direct in cls.__subclasses__() for sub in (direct, *_record_classes(direct))]


def _connect(name: str) -> None:
    """Exchanges registrations with a library that is now imported."""
    source = _pending.pop(name, None)
    if source is None:
        return
    library = importlib.import_module(source).connect()
    _libraries[name] = library
    for cls in dict.fromkeys(_record_classes()):
        library.publish_record(cls)
    for cls, node in list(_nodes.items()):
        library.publish(cls, node)
    _C._set_foreign_lookup(adopt)


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
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        loader.exec_module = execute
        execute(module)
        _connect(spec.name)
        if not _pending:
            sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _Watcher)]

    loader.exec_module = exec_module
    return spec


def install() -> None:
    """Connects with what is imported already, and watches for the rest."""
    for name in list(_pending):
        if name in sys.modules:
            _connect(name)
    if _pending:
        sys.meta_path.insert(0, _Watcher())
