"""A link to its source under every function and class of the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from griffe import Extension, Object

ROOT = Path(__file__).parents[2]


class Sources(Extension):
    """Adds the link to what has a docstring."""

    def __init__(self, repository: str) -> None:
        self.repository = repository

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Add the link to the end of a docstring, as the last of the extensions."""
        place = source(obj)
        if obj.docstring is not None and place and (obj.is_function or obj.is_class):
            link = f"[source]({self.repository}/blob/main/{place}){{ .source }}"
            obj.docstring.value = f"{obj.docstring.value.rstrip()}\n\n{link}"


def source(obj: Object) -> str | None:
    """The path of an object within the repository with its lines; for native ones the folder of the C++ sources."""
    if isinstance(obj.filepath, list) or obj.filepath is None:
        return None
    path = Path(obj.filepath).resolve()
    if not path.is_relative_to(ROOT):
        return None
    place = path.relative_to(ROOT).as_posix()
    if "._C." in obj.path:
        return f"{place.split('/src/')[0]}/cpp"
    lines = path.read_text("utf-8").splitlines()[(obj.lineno or 1) - 1 : obj.endlineno or 0]
    is_there = any(obj.name in line for line in lines)  # what a stub says is elsewhere
    return f"{place}#L{obj.lineno}-L{obj.endlineno}" if is_there else None
