"""What mkdocstrings has to be told about our docstrings."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from griffe import Docstring, Extension, GriffeLoader, Object

EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)

SESSION = re.compile(r"^( *)>>> .*\n?(?:\1(?!>>> ).*\S.*\n?|\1>>> .*\n?)*", re.MULTILINE)


def program(session: re.Match[str]) -> str:
    """A session as a program that can be copied: no prompts, and what is printed as comments."""
    indent = session[1]
    lines = [line.removeprefix(indent) for line in session[0].rstrip("\n").split("\n")]
    code = [line[4:] if line.startswith((">>> ", "... ")) else printed(line) for line in lines]
    shown = ["```python", *(line.split("  # doctest:")[0] for line in code), "```"]
    return "\n".join(f"{indent}{line}".rstrip() for line in shown) + "\n"


def printed(line: str) -> str:
    return "" if line == "..." else f"# {line}"


class Docstrings(Extension):
    """Finds the docstrings of native code, and shows `Example:` sections as programs."""

    def on_object(self, *, obj: Object, loader: GriffeLoader, **kwargs: Any) -> None:
        """Complete an object that has been read from its source."""
        if obj.docstring is None and "._C." in obj.canonical_path:
            obj.docstring = native_docstring(obj, loader)
        if obj.docstring is not None:
            # The Google style knows `Examples:` only and takes `Example:` for prose.
            text = EXAMPLE.sub(r"\1Examples:", obj.docstring.value)
            obj.docstring.value = SESSION.sub(program, text)


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
