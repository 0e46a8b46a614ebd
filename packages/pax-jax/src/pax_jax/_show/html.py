"""A module in a notebook: a tree whose modules fold."""

from __future__ import annotations

from html import escape
from typing import Any

from pax_jax._module.kinds import is_module
from pax_jax._module.tied import Shared
from pax_jax._show.leaves import leaf_text
from pax_jax._show.parts import Part, counts_of, grouped, inside, key_text
from pax_jax._show.titles import has_own_repr, other_statics, split, title

ROWS = 2000  # more are not shown
_OPEN = 40  # rows of a module that is shown unfolded as a whole

_STYLE = (
    "<style>.pax{font-family:monospace;line-height:1.5}"
    ".pax details>div,.pax details>details{margin-left:1.5em}"
    ".pax summary,.pax details>div{padding-left:1.2em}.pax summary{cursor:pointer;text-indent:-1.2em}"
    ".pax .key{opacity:.65}.pax .count{opacity:.65;margin-left:1em}"
    ".pax .state,.pax .frozen{border:1px solid;border-radius:3px;padding:0 .3em;font-size:85%}"
    ".pax .state{border-color:#c77700;background:#c7770030}"
    ".pax .frozen{border-color:#2f86e0;background:#2f86e030}</style>"
)


def html_of(module: Any) -> str:
    """Return the HTML of a module: each module in it is a `<details>`, with counts; all text is escaped."""
    rows = _Rows()
    rows.add(Part("", module, None))
    opened = len(rows.lines) <= _OPEN
    lines = [line.replace("<details>", "<details open>") if opened else line for line in rows.lines]
    lines[0] = lines[0].replace("<details>", "<details open>")
    return f'{_STYLE}<div class="pax">{"".join(lines)}</div>'


class _Rows:
    """The rows of a tree, in order; a row opens what later ones close."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, part: Part, values: bool = True, training: bool = True) -> None:
        """Add the row of a part, and those of what is below it."""
        values = values and part.times == 1
        if not is_module(part.value):
            self.lines.append(f"<div>{_key(part)}{_leaf(part, values)}{_count(part)}</div>")
            return
        head = f"{_key(part)}{escape(_title(part.value, training))}{_count(part)}"
        below = [] if has_own_repr(part.value) else grouped([*inside(part.value, part.kind)])
        if not below:
            self.lines.append(f"<div>{head}</div>")
            return
        self.lines.append(f"<details><summary>{head}</summary>")
        for number, child in enumerate(below):
            if len(self.lines) >= ROWS:
                self.lines.append(f"<div>... {len(below) - number} more</div>")
                break
            self.add(child, values, part.value.training)
        self.lines[-1] += "</details>"


def _title(module: Any, training: bool) -> str:
    """Return the title of a module, with the static attributes that it does not have."""
    if has_own_repr(module):
        return title(module)
    name, arguments = split(title(module))
    shown = [arguments] if arguments else []
    shown += [f"{key}={text}" for key, text in other_statics(module, training).items()]
    return f"{name}({', '.join(shown)})" if shown else name


def _key(part: Part) -> str:
    times = f"{part.times} x " if part.times > 1 else ""
    return f'<span class="key">{escape(key_text(part))}:</span> {times}' if part.key else ""


def _leaf(part: Part, values: bool) -> str:
    if isinstance(part.value, Shared):
        return escape(f"Shared({part.value.path!r})")
    text = leaf_text(part.value, part.kind, values)
    word, _, rest = text.partition(" ")
    if word in ("state", "frozen"):
        return f'<span class="{word}">{word}</span> {escape(rest)}'
    return escape(text)


def _count(part: Part) -> str:
    counts = counts_of(part)
    if not is_module(part.value) or not any(counts):
        return ""
    return f'<span class="count">{counts}{" each" if part.times > 1 else ""}</span>'
