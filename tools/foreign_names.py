"""Private names of other libraries in the sources: where they are used, and which of them `_compat.py` looks up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import distributions
from source_files import (
    is_private,
    is_private_path,
    native_code_lines,
    native_sources,
    python_sources,
)

ROOM = "_compat"
NATIVE_ROOMS = {"compat.h", "compat.cc"}
OWN = {distributions.import_name(name) for name in distributions.NAMES}
# Documented names that begin with an underscore, for want of others.
DOCUMENTED = {"_replace", "_asdict", "_fields", "_field_defaults", "_make", "_name_", "_value_"}
ATTRIBUTE_FUNCTIONS = {"getattr", "hasattr", "setattr", "delattr", "attrgetter"}
PRIVATE_C_API = re.compile(r"\b_Py\w+")


def looked_up(file: Path) -> list[str]:
    """Return the dotted names that a file looks up by `foreign("...")`."""
    return sorted(set(lookups(ast.parse(file.read_text()))))


def lookups(tree: ast.AST) -> Iterator[str]:
    """Yield the first argument of each call of `foreign`; a call without a literal one is an error."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called_name(node) == "foreign":
            name = node.args[0] if node.args else None
            if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
                raise ValueError(
                    f"line {node.lineno}: foreign() was called without a literal name; "
                    "expected one, which the tests can find."
                )
            yield name.value


def called_name(node: ast.Call) -> str | None:
    """Return the last part of the name of what a call calls."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else None


def outside_the_room(name: str) -> Iterator[tuple[Path, int, str]]:
    """Yield the file, line and text of each use of another library's private name outside `_compat.py`."""
    modules = python_sources(name)
    trees = {module: ast.parse(file.read_text()) for module, file in modules.items()}
    own = own_private_names()
    for module, tree in trees.items():
        if module.rpartition(".")[2] != ROOM:
            for line, text in sorted(set(uses(tree, own))):
                yield modules[module], line, text
    yield from native_uses(name)


def native_uses(name: str) -> Iterator[tuple[Path, int, str]]:
    """Yield the private names of CPython's C API outside of the file for them."""
    for file in native_sources(name):
        if file.name in NATIVE_ROOMS:
            continue
        text = file.read_text()
        code = native_code_lines(text)
        for number, line in enumerate(text.splitlines(), start=1):
            found = PRIVATE_C_API.search(line.partition("//")[0])
            if found and number in code:
                yield file, number, found[0]


def uses(tree: ast.Module, own: set[str]) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each use of a private name that is not among `own`."""
    bound = dict(foreign_bindings(tree))
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((node.lineno, name) for name in imported(node) if is_private_path(name))
        elif isinstance(node, ast.Attribute) and id(node) not in inner:
            yield from attribute_uses(node, bound, own)
        elif isinstance(node, ast.Call) and called_name(node) in ATTRIBUTE_FUNCTIONS:
            for value in (
                argument.value for argument in node.args if isinstance(argument, ast.Constant)
            ):
                if (
                    isinstance(value, str)
                    and is_private_path(value)
                    and value not in own | DOCUMENTED
                ):
                    yield node.lineno, f"{called_name(node)}(..., {value!r})"


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Return the dotted names of other libraries that an import statement imports."""
    return [name for name, _ in foreign_aliases(node)]


def foreign_aliases(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, ast.alias]]:
    """Yield the dotted names of other libraries that an import statement imports, and how it imports them."""
    if isinstance(node, ast.ImportFrom) and node.level:
        return
    prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    for alias in node.names:
        name = prefix + alias.name
        if name.partition(".")[0] not in OWN | {"__future__"}:
            yield name, alias


def foreign_bindings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the names that import statements bind to other libraries' objects, and the objects' dotted names."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for name, alias in foreign_aliases(node):
                is_root = isinstance(node, ast.Import) and alias.asname is None
                target = name.partition(".")[0] if is_root else name
                yield alias.asname or target.rpartition(".")[2], target


def attribute_uses(
    node: ast.Attribute, bound: dict[str, str], own: set[str]
) -> Iterator[tuple[int, str]]:
    """Yield the use of a private name in a chain of attributes, if there is one."""
    parts = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        parts.append(value.attr)
        value = value.value
    if isinstance(value, ast.Name) and value.id in bound:
        if any(is_private(part) and part not in DOCUMENTED for part in parts):
            yield node.lineno, ".".join([bound[value.id], *reversed(parts)])
    elif any(is_private(part) and part not in own | DOCUMENTED for part in parts):
        yield node.lineno, ast.unparse(node)


def own_private_names() -> set[str]:
    """Every private name that a source file of the five packages defines."""
    names: set[str] = set()
    for package in distributions.NAMES:
        for module, file in python_sources(package).items():
            names.update(part for part in module.split(".") if is_private(part))
            names.update(defined(ast.parse(file.read_text())))
        for stub in (distributions.folder(package) / "src").rglob("_*.pyi"):
            names.add(stub.stem)
            names.update(defined(ast.parse(stub.read_text())))
    return names


def defined(tree: ast.Module) -> Iterable[str]:
    """Yield the private names that a file defines: functions, classes, variables, fields, attributes of `self`."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            is_own = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
            name = node.attr if is_own else ""
        elif isinstance(node, ast.Call) and called_name(node) == "type":
            keys = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
            yield from (key for key in keys if isinstance(key, str) and is_private(key))
            continue
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
            texts = [each.value for each in ast.walk(node.value) if isinstance(each, ast.Constant)]
            yield from (text for text in texts if isinstance(text, str) and is_private(text))
            continue
        else:
            continue
        if is_private(name):
            yield name
