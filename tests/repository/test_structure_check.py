"""What `tools/structure_check.py` counts as code, and what it finds."""

import ast
from textwrap import dedent

import pytest

import foreign_names
import import_graph
import source_files
import structure_check

PYTHON = '''
"""A module.

More of it.
"""

import os  # a comment

# a comment


def f(x):
    """A function."""

    text = """not a
    docstring"""
    return (
        x,
        # a comment
        text,
    )
'''
NATIVE = """
// A file.
#include <string>

/* Several
   lines. */ int one;  // a comment
std::string two = "// no comment";
char three = '"';  /* a
comment */
auto four = R"(raw // text
/* no comment */)";
"""


def test_lines_of_python_with_code():
    lines = PYTHON.splitlines()
    found = [lines[number - 1].strip() for number in sorted(source_files.python_code_lines(PYTHON))]
    assert found == [
        "import os  # a comment",
        "def f(x):",
        'text = """not a',
        'docstring"""',
        "return (",
        "x,",
        "text,",
        ")",
    ]


def test_lines_of_native_code():
    lines = NATIVE.splitlines()
    found = [lines[number - 1].strip() for number in sorted(source_files.native_code_lines(NATIVE))]
    assert found == [
        "#include <string>",
        "lines. */ int one;  // a comment",
        'std::string two = "// no comment";',
        "char three = '\"';  /* a",
        'auto four = R"(raw // text',
        '/* no comment */)";',
    ]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("Sum.\n\nArgs:\n    x: one.\n\nReturns:\n    It.", []),
        ("Sum.\n\nArgs:\n  x: one.", ["the contents of 'Args' are not indented by four spaces"]),
        ("Sum.\n\nInput:\n    x: one.", ["'Input' is none of the sections"]),
        ("Sum.\n\nIt is so, see\n\nthere:\n\n    >>> 1", []),
    ],
)
def test_sections_of_docstrings(text, problems):
    found = [problem for _, problem in structure_check.section_problems(text.splitlines())]
    assert len(found) == len(problems)
    assert all(one.startswith(other) for one, other in zip(found, problems, strict=True))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torch._dynamo", ["torch._dynamo"]),
        ("import torch.nn\ntorch._C.f()", ["torch._C.f"]),
        ("from torch._C import f", ["torch._C.f"]),
        ("from jax import _src", ["jax._src"]),
        ("def g():\n    from optax._src import base", ["optax._src.base"]),
        ("from torch import autograd as a\na.graph._level = 1", ["torch.autograd.graph._level"]),
        ("getattr(x, '_private')", ["getattr(..., '_private')"]),
        ("x.storage()._cdata", ["x.storage()._cdata"]),
        ("from __future__ import annotations\nx.__dict__\nx._replace(a=1)", []),
        ("from pax_tree._C import f\nself._mine = x._mine", []),
    ],
)
def test_private_names_of_other_libraries(source, found):
    tree = ast.parse(source)
    own = set(foreign_names.defined(tree))
    assert [text for _, text in foreign_names.uses(tree, own)] == found


def test_names_that_are_looked_up():
    source = 'f = foreign("a._b", "this")\n_foreign.foreign("c._d", "that", None)\nother("e._f")'
    assert list(foreign_names.lookups(ast.parse(source))) == ["a._b", "c._d"]
    with pytest.raises(ValueError, match=r"line 1: foreign\(\) was called without a literal name"):
        list(foreign_names.lookups(ast.parse("foreign(name)")))


def test_circles_of_imports(tmp_path):
    files = {
        "pkg": "from pkg.a import x",
        "pkg.a": "import pkg.b",
        "pkg.b": "def f():\n    from pkg import c",
        "pkg.c": "from .a import y",
        "pkg.d": "import os",
    }
    modules = {}
    for name, text in files.items():
        modules[name] = tmp_path / ("__init__.py" if name == "pkg" else f"{name}.py")
        modules[name].write_text(text)
    graph = import_graph.python_graph(modules)
    assert graph["pkg.b"] == {"pkg.c"}
    assert graph["pkg.d"] == set()
    assert import_graph.circles(graph) == [["pkg.a", "pkg.b", "pkg.c"]]
    assert import_graph.imported_once(graph) == {"pkg.b": "pkg.a", "pkg.c": "pkg.b"}


def test_names_that_a_module_binds():
    source = dedent("""
        import os.path
        from typing import Any as _Any, TypeVar
        T = TypeVar("T")
        if T:
            def f(): inner = 1
        for i, j in ():
            k = 1
    """)
    found = [name for _, name in structure_check.bindings(ast.parse(source).body)]
    assert found == ["os", "_Any", "TypeVar", "T", "f", "k", "i", "j"]
