"""Private names of other libraries are looked up, and missed only where they are used."""

import copy
import math
import pickle
import re
import sys

import pytest

from pax_tree._foreign import Missing, foreign, hidden


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A package with a module that is like a function of its own name, and with broken modules."""
    package = tmp_path / "strange_library"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '1.2'\nfrom strange_library.f import f\n")
    (package / "f.py").write_text("_inner = 3\n\ndef f():\n    return 4\n")
    (package / "no_attribute.py").write_text("import math\nmath.gone\n")
    (package / "no_import.py").write_text("from math import gone\n")
    (package / "failing.py").write_text("raise ValueError('mine')\n")
    (package / "_private.py").write_text("class Thing:\n    value = 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("strange_library")]:
        del sys.modules[name]


def test_names_of_modules_and_of_what_is_in_them(library):
    assert foreign("math.sqrt", "this") is math.sqrt
    assert foreign("math", "this") is math
    assert foreign("strange_library._private.Thing.value", "this") == 5
    assert foreign("strange_library._private", "this").Thing.value == 5


def test_a_function_that_hides_a_module_of_its_name(library):
    assert foreign("strange_library.f", "this")() == 4
    assert foreign("strange_library.f._inner", "this") == 3


@pytest.mark.parametrize(
    "name", ["none", "_private.Thing.none", "no_attribute.x", "no_import.x", "failing.x", "f.x.y"]
)
def test_what_is_gone_or_cannot_be_imported(library, name):
    name = f"strange_library.{name}"
    assert foreign(name, "this", None) is None
    missing = foreign(name, "The test's feature")
    message = (
        f"The test's feature needs {name}, which the installed strange_library 1.2 does not have; "
        "install a version that has it."
    )
    with pytest.raises(RuntimeError, match=re.escape(message)):
        missing(1)


def test_a_library_that_is_not_installed():
    with pytest.raises(RuntimeError, match=r"no_such_library\._x, but no_such_library is not inst"):
        foreign("no_such_library._x", "this").y


def test_a_hidden_name():
    hidden.add("math.sqrt")
    try:
        assert isinstance(foreign("math.sqrt", "this"), Missing)
        assert foreign("math.cos", "this") is math.cos
    finally:
        hidden.discard("math.sqrt")


class TestMissing:
    missing = foreign("math._none", "A test")

    def test_it_is_false_and_has_no_instances(self):
        assert not self.missing
        assert not isinstance(3, self.missing)
        assert isinstance(3, (int, self.missing))
        assert not issubclass(int, self.missing)
        assert repr(self.missing) == "Missing('math._none', 'A test')"

    @pytest.mark.parametrize(
        "use",
        [
            lambda missing: missing(),
            lambda missing: missing(1, 2),
            lambda missing: missing(print),
            lambda missing: missing.name,
            lambda missing: missing.name.other(),
            lambda missing: setattr(missing, "name", 1),
            lambda missing: missing.__enter__(),
        ],
    )
    def test_using_it_raises(self, use):
        with pytest.raises(RuntimeError, match=r"A test needs math\._none, which .* math"):
            use(self.missing)

    def test_with(self):
        with pytest.raises(RuntimeError, match="A test needs"), self.missing:
            pytest.fail("the body runs")

    def test_a_derived_class_makes_no_objects(self):
        class Derived(self.missing, dict):
            """Has a docstring."""

            def method(self):
                return 1

        class Further(Derived):
            pass

        for cls in (Derived, Further):
            with pytest.raises(RuntimeError, match="A test needs"):
                cls(3, key=4)

    def test_what_python_asks_of_any_object(self):
        for other in (copy.deepcopy(self.missing), pickle.loads(pickle.dumps(self.missing))):
            assert repr(other) == repr(self.missing)
        assert not hasattr(self.missing, "__wrapped__")
