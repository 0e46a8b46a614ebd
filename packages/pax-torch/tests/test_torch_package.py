"""The package as a whole: its names, its imports and the examples in its docstrings."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import pax_torch
import pax_tree

MODULES = [name for _, name, _ in pkgutil.walk_packages(pax_torch.__path__, "pax_torch.")]


def test_all_names_exist_and_are_sorted():
    assert pax_torch.__all__ == sorted(set(pax_torch.__all__))
    assert all(hasattr(pax_torch, name) for name in pax_torch.__all__)


def test_has_the_functions_of_trees_and_the_registrations_of_pax_tree():
    names = [name for name in pax_tree.__all__ if name.startswith(("tree_", "register_"))]
    assert all(getattr(pax_torch, name) is getattr(pax_tree, name) for name in names)
    assert set(names) <= set(pax_torch.__all__)


def test_importing_it_imports_no_sympy_nor_all_of_it_and_changes_no_filter_of_warnings():
    code = (
        "import sys, warnings, torch; filters = list(warnings.filters); import pax_torch; "
        "assert 'sympy' not in sys.modules; assert warnings.filters == filters; "
        "assert 'pax_torch.random' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", MODULES)
def test_imports_only_its_dependencies(name):
    path = importlib.import_module(name).__file__
    allowed = {"pax_torch", "pax_tree", "torch"}
    for node in ast.walk(ast.parse(Path(path).read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        for imported in names:
            root = imported.partition(".")[0]
            assert root in allowed or root in sys.stdlib_module_names


OWN = {name: getattr(pax_torch, name) for name in pax_torch.__all__ if name not in pax_tree.__all__}
SUBMODULES = {name: value for name, value in OWN.items() if isinstance(value, ModuleType)}
PUBLIC = {name: value for name, value in OWN.items() if name not in SUBMODULES} | {
    f"{module}.{name}": getattr(value, name)
    for module, value in SUBMODULES.items()
    for name in value.__all__
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_have_examples(name):
    value = PUBLIC[name]
    methods = [m for n, m in vars(value).items() if n[0] != "_"] if isinstance(value, type) else []
    documented = [method for method in methods if callable(method)] or [value]
    assert all(">>>" in method.__doc__ for method in documented)


@pytest.mark.parametrize("name", SUBMODULES)
def test_names_of_submodules_are_sorted(name):
    assert SUBMODULES[name].__all__ == sorted(SUBMODULES[name].__all__)
