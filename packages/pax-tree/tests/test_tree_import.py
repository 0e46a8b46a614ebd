"""Importing the package pulls in neither PyTorch nor JAX nor NumPy, nor what is slow to import."""

import inspect
import subprocess
import sys

import pax_tree

CHECK = """
import sys
before = set(sys.modules)
import pax_tree
slow = {"dataclasses", "enum", "inspect", "re", "typing"} & (set(sys.modules) - before)
assert not slow, slow
heavy = {"jax", "jaxlib", "torch", "numpy"} & set(sys.modules)
assert not heavy, heavy
assert pax_tree.tree_map(lambda x: x + 1, {"a": [1]}) == {"a": [2]}
assert not heavy & set(sys.modules)
"""


def test_isolated_import():
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", CHECK],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_all_names_exist_and_say_where_they_are():
    for name in pax_tree.__all__:
        value = getattr(pax_tree, name)
        if not inspect.ismodule(value):
            assert value.__module__.startswith("pax_tree"), name
            assert value.__doc__, name
    assert sorted(pax_tree.tree.__all__) == pax_tree.tree.__all__
