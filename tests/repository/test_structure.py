"""The sources keep the repository's structure; `tools/structure_check.py` says what that is."""

import ast
import importlib
from pathlib import Path

import pytest

import distributions
import source_files
import structure_check

CHECKS = sorted(structure_check.CHECKS)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", distributions.NAMES)
def test_a_package_has_no_problem(name, check):
    problems = structure_check.CHECKS[check](name)
    assert [structure_check.describe(problem) for problem in problems] == []


PUBLIC = [
    module
    for name in distributions.NAMES
    for module in source_files.python_sources(name)
    if not source_files.is_private_path(module)
]


@pytest.mark.parametrize("name", PUBLIC)
def test_dir_of_a_public_module_is_its_public_names(name):
    module = importlib.import_module(name)
    shown = {each for each in dir(module) if not each.startswith("_")}
    modules = {each.rpartition(".")[2] for each in PUBLIC if each.rpartition(".")[0] == name}
    assert shown - modules == set(module.__all__) - modules
    assert all(hasattr(module, each) for each in module.__all__)


@pytest.mark.parametrize("name", ["pax_jax", "pax_torch"])
def test_lazy_names_are_imported_from_where_type_checkers_see_them(name):
    module = importlib.import_module(name)
    guarded = next(
        node
        for node in ast.parse(Path(module.__file__).read_text()).body
        if isinstance(node, ast.If)
    )
    seen = {
        alias.name: node.module.removeprefix(name).removeprefix(".") or alias.name
        for node in guarded.body
        for alias in node.names
    }
    assert seen == module._ROOMS
    assert set(seen) <= set(module.__all__)
