"""What mkdocstrings has to be told about our docstrings."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from griffe import Docstring, Extension, GriffeLoader, Object

EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)


class Docstrings(Extension):
    """Finds the docstrings of native code, and shows `Example:` sections as code."""

    def on_object(self, *, obj: Object, loader: GriffeLoader, **kwargs: Any) -> None:
        """Complete an object that has been read from its source."""
        if obj.docstring is None and "._C." in obj.canonical_path:
            obj.docstring = native_docstring(obj, loader)
        if obj.docstring is not None:
            # The Google style knows `Examples:` only and takes `Example:` for prose, in which >>> is
            # a quotation.
            obj.docstring.value = EXAMPLE.sub(r"\1Examples:", obj.docstring.value)


def native_docstring(obj: Object, loader: GriffeLoader) -> Docstring | None:
    """The docstring that C++ gives an object; its stub has the annotations only."""
    module, _, name = obj.canonical_path.partition("._C.")
    native = import_module(f"{module}._C")
    for part in name.split("."):
        native = getattr(native, part, None)
    text = getattr(native, "__doc__", None)
    if not text or obj.name.startswith("__"):
        return None
    options = loader.docstring_options
    return Docstring(text, parent=obj, parser=loader.docstring_parser, parser_options=options)
