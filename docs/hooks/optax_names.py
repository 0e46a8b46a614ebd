"""Describes the arguments of opax's names, whose stubs have one line each, as optax describes them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from griffe import Docstring, Extension, Object, Parser

MODULES = ("opax", "opax.contrib", "opax.schedule")
ROLE = re.compile(r":\w+:`~?([^`]*)`")
MORE = "The mathematics is that of [optax.{name}](https://optax.readthedocs.io/en/latest/search.html?q={name})."

# What optax itself says nothing about.
OURS = {
    ("MultiSteps", "opt"): "the transformation that is run on the average of the gradients.",
    ("MultiSteps", "every_k_schedule"): "of how many steps, or a function from the step to that.",
    ("MultiSteps", "use_grad_mean"): "whether gradients are averaged, rather than added up.",
    (
        "MultiSteps",
        "should_skip_update_fn",
    ): "`f(updates, step, params)`, which says whether a step is left out, and what is kept about it.",
    ("MultiSteps", "accumulator_dtype"): "the dtype of the sum; None is that of the parameters.",
    ("scale_by_lion", "mode"): "how the update is made of the moment, as optax names it.",
    ("with_extra_args_support", "tx"): "the transformation, which is to take keyword arguments.",
}


class OptaxNames(Extension):
    """Completes the docstrings of what `tools/opax_stubs.py` has written."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Add the arguments to the line that the stub has."""
        module, _, name = obj.path.rpartition(".")
        if module not in MODULES or not obj.is_function or obj.docstring is None:
            return
        place = import_module(module)
        if name in place._generated:
            lines = described(name, place._generated[name])
            obj.docstring.value += "\n\n" + "\n".join(lines)
        elif "\n" not in obj.docstring.value:
            obj.docstring.value = inspect.getdoc(getattr(place, name))


def described(name: str, function: Any) -> Iterator[str]:
    """The section of arguments, and where to read more."""
    found = dict(descriptions(inspect.getdoc(function) or ""))
    parameters = inspect.signature(function).parameters
    if parameters:
        yield "Args:"
    for parameter in parameters:
        text = found.get(parameter) or OURS[name, parameter]
        plain = ROLE.sub(r"`\1`", " ".join(text.split()))
        yield f"    {parameter}: {plain}"
    yield ""
    yield MORE.format(name=name)


def descriptions(text: str) -> Iterator[tuple[str, str]]:
    """The parameters that a docstring describes."""
    for section in Docstring(text, parser=Parser.google, parser_options={"warnings": False}).parsed:
        if section.kind.value == "parameters":
            for parameter in section.value:
                yield parameter.name.lstrip("*"), parameter.description
