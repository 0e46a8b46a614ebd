"""Draw the first page's program and what it prints, run here and now, as `docs/assets/demo.svg`, for the README."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "assets" / "demo.svg"
PROGRAM = re.compile(r"<!-- prints -->\n```python\n(.*?)\n```", re.DOTALL)
LINE, LEFT, TOP, WIDTH = 20, 20, 34, 560


def main() -> int:
    code = program()
    PICTURE.write_text(picture(code, output(code)), encoding="utf-8")
    print(
        f"demo.py: {PICTURE.relative_to(ROOT)} shows the program of docs/index.md and its output."
    )
    return 0


def program() -> str:
    """Return the program that the first page begins with."""
    return PROGRAM.search((ROOT / "docs" / "index.md").read_text(encoding="utf-8"))[1]


def output(code: str) -> str:
    """Return what a program prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "docs/index.md", "exec"), {})  # noqa: S102
    return printed.getvalue().rstrip()


def picture(code: str, printed: str) -> str:
    """Return an SVG with the lines of the program, and under a rule those that it prints."""
    lines, results = code.split("\n"), printed.split("\n")
    rule = TOP + LINE * len(lines)
    height = rule + LINE * len(results) + 24
    texts = [text(line, TOP + LINE * i, kind(line)) for i, line in enumerate(lines)]
    texts += [text(line, rule + 22 + LINE * i, "#62dccb") for i, line in enumerate(results)]
    body = "\n".join(filter(None, texts))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="A program with Pax, and what it prints" font-size="14" '
        'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace">\n'
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#12181f"/>\n'
        f'<path d="M{LEFT} {rule} H{WIDTH - LEFT}" stroke="#2b3540"/>\n{body}\n</svg>\n'
    )


def text(line: str, y: int, colour: str) -> str:
    if not line:
        return ""
    return f'<text x="{LEFT}" y="{y}" fill="{colour}" xml:space="preserve">{escape(line)}</text>'


def kind(line: str) -> str:
    """Return the colour of a line: imports, comments, or the rest."""
    if line.startswith("#"):
        return "#75818d"
    return "#8fb7ff" if line.startswith(("import", "from")) else "#e4e9ee"


if __name__ == "__main__":
    sys.exit(main())
