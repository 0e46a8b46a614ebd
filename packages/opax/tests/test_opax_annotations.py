"""What annotations of arguments say, however they are written."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Optional, Union

import jax
import numpy as np
import optax
import pytest

from opax import _annotations as annotations

GT = optax.GradientTransformation


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (float, True),
        (Optional[float], True),  # noqa: UP045 - as optax writes them
        (Union[float, jax.Array, optax.Schedule], True),  # noqa: UP007
        (float | np.ndarray | None, True),
        (Annotated[float, "positive"], True),
        (jax.typing.ArrayLike, True),
        (Callable[[int], float] | float, True),
        (int, False),
        (float | str, False),
        (list[float], False),
        (float | tuple[float, ...], False),
        (Mapping[str, float] | float, False),
        (Callable[[int], float], False),
        (Any, False),
        (np.float32, False),
        ("float", False),  # what could not be resolved
        (type("floating", (), {}), False),
    ],
)
def test_numbers(annotation, expected):
    assert annotations.is_number(annotation) is expected


@pytest.mark.parametrize(
    ("annotation", "direct", "mapping", "named"),
    [
        (GT, True, False, False),
        (GT | None, True, False, False),
        (Union[optax.GradientTransformationExtraArgs, GT, None], True, False, False),  # noqa: UP007
        (Mapping[str, GT], False, True, False),
        (dict[str, GT | None], False, True, False),
        (tuple[str, GT], False, False, True),
        (Callable[..., GT], False, False, False),
        (dict[str, GT | Callable[..., Any]], False, False, False),
        (list[GT], False, False, False),
        (Any, False, False, False),
        (None, False, False, False),
    ],
)
def test_transformations(annotation, direct, mapping, named):
    assert annotations.is_transformation(annotation) is direct
    assert annotations.is_mapping_of_transformations(annotation) is mapping
    assert annotations.is_named_transformation(annotation) is named


def test_annotations_that_are_text_are_evaluated():
    def make(rate: "float | None", other: "int"): ...

    def unresolved(rate: "float", other: "NotThere"): ...  # noqa: F821

    parameters = annotations.resolved_signature(make).parameters
    assert annotations.is_number(parameters["rate"].annotation)
    assert not annotations.is_number(parameters["other"].annotation)
    assert list(annotations.resolved_signature(unresolved).parameters) == ["rate", "other"]
