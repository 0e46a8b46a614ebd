"""No package imports one above or beside it, and importing one loads no framework that it does not stand on."""

import ast
import subprocess
import sys

import pytest

import distributions

SIBLINGS = {distributions.import_name(name) for name in distributions.NAMES}
FRAMEWORKS = {"torch", "jax", "jaxlib", "optax", "numpy"}
MAY_IMPORT = {
    "pax-tree": set(),
    "pax-torch": {"pax_tree", "torch"},
    "pax-jax": {"pax_tree", "jax", "jaxlib", "numpy"},
    "opax": {"pax_tree", "pax_jax", "jax", "jaxlib", "numpy", "optax"},
    "torch2jax-bridge": {"pax_tree", "torch", "jax", "jaxlib", "numpy"},
}
# Siblings that an extra brings: imported inside functions only.
OPTIONAL = {"pax-jax": {"torch2jax_bridge"}}
NEVER_LOADED = {
    "pax-tree": {"torch", "jax", "numpy"},
    "pax-torch": {"jax"},
    "pax-jax": {"torch", "optax"},
    "opax": {"torch"},
    "torch2jax-bridge": {"pax_jax", "pax_torch", "opax", "optax"},
}


def modules_imported_at_import_time(tree):
    """Top-level names that a module imports when it is imported: all but what stands inside functions."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]
        elif not is_type_checking(node):
            inner = (
                ()
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
                else ast.iter_child_nodes(node)
            )
            pending.extend(inner)


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) in {
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    }


def modules_imported_anywhere(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("name", distributions.NAMES)
def test_imports_stay_within_the_layer(name):
    own = distributions.import_name(name)
    files = sorted((distributions.folder(name) / "src").rglob("*.py"))
    assert files
    for file in files:
        tree = ast.parse(file.read_text())
        eager = set(modules_imported_at_import_time(tree)) & (SIBLINGS | FRAMEWORKS)
        assert eager - {own} <= MAY_IMPORT[name], file
        lazy = set(modules_imported_anywhere(tree)) & SIBLINGS
        assert lazy - {own} <= (MAY_IMPORT[name] & SIBLINGS) | OPTIONAL.get(name, set()), file


@pytest.mark.parametrize("name", distributions.NAMES)
def test_its_tests_need_the_package_and_the_test_tools_alone(name):
    files = sorted((distributions.folder(name) / "tests").rglob("*.py"))
    own = {distributions.import_name(name), *(file.stem for file in files), "_testcapi"}
    allowed = own | MAY_IMPORT[name] | set(distributions.TEST_REQUIREMENTS)
    for file in files:
        imported = set(modules_imported_anywhere(ast.parse(file.read_text())))
        assert imported - set(sys.stdlib_module_names) <= allowed, file


@pytest.mark.parametrize("name", distributions.NAMES)
def test_importing_loads_nothing_foreign(name):
    program = (
        f"import {distributions.import_name(name)}, sys\n"
        f"loaded = sorted(set({sorted(NEVER_LOADED[name])!r}) & sys.modules.keys())\n"
        "assert not loaded, loaded\n"
    )
    result = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", distributions.NAMES)
def test_importing_adds_its_own_modules_alone_and_changes_no_filter_of_warnings(name):
    stands_on = sorted(MAY_IMPORT[name] - SIBLINGS)
    program = f"""
import importlib, sys, warnings
for library in {stands_on!r}:
    importlib.import_module(library)
before, filters = set(sys.modules), list(warnings.filters)
import {distributions.import_name(name)}
added = {{module.partition(".")[0] for module in set(sys.modules) - before}}
foreign = added - set(sys.stdlib_module_names) - {SIBLINGS | set(stands_on)!r}
assert not foreign, foreign
assert warnings.filters == filters
"""
    result = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
