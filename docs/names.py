"""Tables of public names that another library wrote: `{{ names opax }}` on a page becomes one."""

import importlib
import inspect
import re
from types import ModuleType
from typing import Any

MARKER = re.compile(r"^\{\{ names ([\w.]+) \}\}$", re.MULTILINE)


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Replace the markers of a page, before its Markdown is read."""
    return MARKER.sub(lambda marker: table(importlib.import_module(marker[1])), markdown)


def table(module: ModuleType) -> str:
    """A row, which can be linked to, for each public name that the package did not define."""
    rows = [
        f'| <span id="{module.__name__}.{name}">`{name}`</span> | {summary(getattr(module, name))} |'
        for name in sorted(module.__all__, key=str.lower)
        if is_foreign(getattr(module, name))
    ]
    return "\n".join(["| name | |", "|---|---|", *rows])


def is_foreign(value: Any) -> bool:
    """Whether it is a function or class of JAX or optax, or made from one."""
    package = (getattr(value, "__module__", None) or "").partition(".")[0]
    return callable(value) and package in {"optax", "jax"}


def summary(value: Any) -> str:
    """The first sentence of its docstring, as plain text."""
    text = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
    text = re.sub(r":\w+:`~?([^`<]*?)(?: *<[^`]*>)?`", r"`\1`", text)
    first = re.split(r"(?<=\.) ", text)[0]
    return first.replace("|", r"\|").replace("_", r"\_").replace("``", "`")
