"""What editors, `help` and `dir` say of modules."""

import dataclasses
import inspect
import pydoc
import typing

import jax
import pytest

import pax_jax as pax

T = typing.TypeVar("T")


class Net(pax.Module):
    """A net."""

    def __init__(self, size: int, *, depth=3):
        super().__init__()
        self.layer = pax.Linear(size, depth)


class Below(Net):
    pass


class Called(typing.Protocol):
    def __call__(self, x): ...


class First(Called, Net):
    def __call__(self, x):
        return x


class Last(Net, Called):
    def __call__(self, x):
        return x


class Made(pax.Module):
    def __new__(cls, size: int):
        return super().__new__(cls)

    def __init__(self, *args):
        super().__init__()


class OnlyNew(pax.Module):
    def __new__(cls, size: int):
        return super().__new__(cls)


class Told(Net):
    __signature__ = inspect.Signature([inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY)])


@dataclasses.dataclass
class Data(pax.Module):
    x: int
    y: float = 2.0


class Box(pax.Module, typing.Generic[T]):
    def __init__(self, value: T):
        super().__init__()


@pytest.mark.parametrize(
    ("cls", "signature"),
    [
        (Net, "(size: int, *, depth=3)"),
        (Below, "(size: int, *, depth=3)"),
        (First, "(size: int, *, depth=3)"),
        (Last, "(size: int, *, depth=3)"),
        (Made, "(*args)"),
        (OnlyNew, "(size: int)"),
        (Told, "(*, x)"),
        (Data, "(x: int, y: float = 2.0) -> None"),
        (Box, "(value: ~T)"),
        (pax.Sequential, "(*modules: 'Module | Callable[..., Any]', name: 'str | None' = None) -> 'None'"),
        (type(pax.Linear(1, 1).replace_method(call=len)), str(inspect.signature(pax.Linear))),
    ],
)  # fmt: skip
def test_the_signature_of_a_class_is_that_of_its_constructor(cls, signature):
    assert str(inspect.signature(cls)) == signature


CLASSES = {
    value
    for namespace in (pax, pax.nn, pax.nets, pax.experimental)
    for value in vars(namespace).values()
    if isinstance(value, type) and issubclass(value, pax.Module)
}


@pytest.mark.parametrize("cls", sorted(CLASSES, key=lambda cls: cls.__name__))
def test_every_class_says_its_arguments(cls):
    signature = inspect.signature(cls)
    constructor = inspect.signature(cls.__init__)
    assert [*signature.parameters] == [*constructor.parameters][1:]


def test_help_and_objects():
    assert "Net(size: int, *, depth=3)" in pydoc.plain(pydoc.render_doc(Net))
    layer = pax.Linear(1, 2)
    assert inspect.signature(layer) == inspect.signature(layer.__call__)
    with pytest.raises(TypeError, match="not a callable"):
        inspect.signature(Net(1))


def test_dir_has_fields_and_methods():
    rebuilt = jax.tree.map(lambda leaf: leaf, Net(1))
    for net in (Net(1), rebuilt, Net(1).parameters()):
        assert {"layer", "training", "eval", "parameters"} <= {*dir(net)}
    assert {"x", "y"} <= {*dir(Data(1))}
