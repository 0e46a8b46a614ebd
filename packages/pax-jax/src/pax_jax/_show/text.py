"""A module as text, its `repr`: attributes, shapes and dtypes, on at most 500 lines."""

from __future__ import annotations

from typing import Any, NamedTuple

from pax_jax._module.kinds import is_module
from pax_jax._module.tied import Shared
from pax_jax._show.leaves import leaf_text
from pax_jax._show.parts import Part, attributes_of, counts_of, grouped, is_listed, items_of
from pax_jax._show.titles import has_own_repr, other_statics, split, title

WIDTH = 100
LINES = 500  # more are shown only of a module that has so many attributes of its own
_PARTS = 40  # of one node
_NODES = 5000
_DEPTH = 50  # so many modules inside each other are opened at most


def text_of(module: Any) -> str:
    """Return the `repr` of a module: opened as deep as there is room for."""
    values: dict[int, str] = {}
    best = ""
    depth = 1
    while True:
        writer = _Writer(depth, values)
        try:
            lines = _lines(writer.write(Part("", module, None)))
        except _Full:
            break
        if best and len(lines) > LINES:
            break
        best = "\n".join(lines)
        if not writer.cut or depth == _DEPTH:
            break
        depth += 1
    return best or f"{split(title(module))[0]}(...)"


class _Group(NamedTuple):
    """A text with parts, which stands on one line or on several."""

    opening: str
    parts: list[_Item]
    closing: str


class _Item(NamedTuple):
    """A part of a group: what stands before it, a text or group, whether it shares its line."""

    before: str
    what: Any
    shares: bool = False


class _Place(NamedTuple):
    """Where a part stands.

    Attributes:
        level: in how many modules.
        values: whether it is shown with its values: not where it stands for several.
        training: whether the module around it is in training mode.
    """

    level: int = 0
    values: bool = True
    training: bool = True


class _Full(Exception):
    """There is more than can be shown."""


class _Writer:
    """Makes groups of nodes, down to a depth.

    Attributes:
        depth: how many modules inside each other are opened.
        cut: whether there are more.
    """

    def __init__(self, depth: int, values: dict[int, str]) -> None:
        self.depth, self.cut = depth, False
        self._nodes = 0
        self._values = values

    def write(self, part: Part, place: _Place = _Place()) -> Any:  # noqa: B008
        """Return the text or group of a part."""
        self._nodes += 1
        if self._nodes > _NODES:
            raise _Full
        node = part.value
        place = place._replace(values=place.values and part.times == 1)
        if is_module(node):
            return title(node) if has_own_repr(node) else self._module(part, place)
        if isinstance(node, Shared):
            return f"Shared({node.path!r})"
        items = items_of(node, part.kind)
        if items is None:
            return self._leaf(part, place.values)
        return self._container(node, items, place)

    def _leaf(self, part: Part, values: bool) -> str:
        if not values:
            return leaf_text(part.value, part.kind, values=False)
        key = id(part.value)
        if key not in self._values:
            self._values[key] = leaf_text(part.value, part.kind)
        return self._values[key]

    def _module(self, part: Part, place: _Place) -> _Group:
        module = part.value
        name, arguments = split(title(module))
        statics = other_statics(module, place.training)
        shown = [_Item("", arguments, True)] if arguments else []
        shown += [_Item(f"{key}=", text, True) for key, text in statics.items()]
        attributes = attributes_of(module, part.kind)
        if place.level >= self.depth and attributes:
            self.cut = True
            rest = f"... {counts_of(part)}".strip()
            return _Group(f"{name}(", [*shown, _Item("", rest, True)], ")")
        inside = _Place(place.level + 1, place.values, module.training)
        below = [
            _Item(f"{attribute.key}=", self.write(attribute, inside))
            for attribute in attributes[:_PARTS]
        ]
        return _Group(f"{name}(", shown + _and_more(below, len(attributes)), ")")

    def _container(self, node: Any, items: list[Part], place: _Place) -> _Group:
        opening, closing = _brackets(node, len(items))
        if is_listed(node):
            items = grouped(items)
        below = [_Item(_before(node, item), self.write(item, place)) for item in items[:_PARTS]]
        return _Group(opening, _and_more(below, len(items)), closing)


def _and_more(items: list[_Item], count: int) -> list[_Item]:
    return [*items, _Item("", f"... {count - _PARTS} more")] if count > _PARTS else items


def _brackets(node: Any, count: int) -> tuple[str, str]:
    if isinstance(node, list):
        return "[", "]"
    if isinstance(node, dict):
        return "{", "}"
    if isinstance(node, tuple) and not hasattr(node, "_fields"):
        return "(", ",)" if count == 1 else ")"
    return f"{type(node).__name__}(", ")"


def _before(node: Any, item: Part) -> str:
    """Return what stands before an item: nothing in a list, the key in a dict, the name elsewhere."""
    if is_listed(node):
        return f"{item.times} x " if item.times > 1 else ""
    key = item.key
    if key.startswith("["):
        return f"{key[1:-1]}: " if isinstance(node, dict) else ""
    return f"{key.removeprefix('.')}="


def _lines(what: Any, indent: int = 0, before: str = "", after: str = "") -> list[str]:
    """Return the lines of a text or group, which all begin with `indent` blanks."""
    blanks = " " * indent
    flat = f"{blanks}{before}{_flat(what)}{after}"
    if isinstance(what, str) or len(flat) <= WIDTH or not what.parts:
        return [flat]
    lines = [f"{blanks}{before}{what.opening}"]
    room = False  # whether the last line may be shared
    for number, item in enumerate(what.parts):
        comma = "," if number < len(what.parts) - 1 else ""
        below = _lines(item.what, indent + 2, item.before, comma)
        if room and item.shares and len(lines[-1]) + len(below[0]) - indent - 1 <= WIDTH:
            lines[-1] += f" {below[0].lstrip()}"
        else:
            lines += below
        room = item.shares
    return [*lines, f"{blanks}{what.closing}{after}"]


def _flat(what: Any) -> str:
    if isinstance(what, str):
        return what
    parts = ", ".join(f"{item.before}{_flat(item.what)}" for item in what.parts)
    return f"{what.opening}{parts}{what.closing}"
