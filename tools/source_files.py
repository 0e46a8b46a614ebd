"""The source files of the repository, the modules they are, and how many lines of code they hold."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import distributions

NATIVE = {".cc", ".h"}
PYTHON = {".py", ".pyi"}
GENERATED = b"# Written by `python "
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
# What a C++ lexer must see to find the comments: texts and characters first, in which `//` is none.
NATIVE_PIECES = re.compile(
    r"""
    R"(?P<mark>\w*)\(.*?\)(?P=mark)" | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'
    | (?P<comment>//[^\n]*|/\*.*?\*/)
    """,
    flags=re.DOTALL | re.VERBOSE,
)
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def tracked_files(root: Path = distributions.ROOT) -> list[Path]:
    """Every file that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return [file for name in listed.stdout.split("\0") if name and (file := root / name).is_file()]


def is_generated(file: Path) -> bool:
    """Whether a program of this repository writes the file."""
    return file.read_bytes().startswith(GENERATED)


def python_sources(name: str, root: Path = distributions.ROOT) -> dict[str, Path]:
    """Return the modules of a package by their dotted names."""
    src = root / "packages" / name / "src"
    files = sorted(src.rglob("*.py"))
    return {module_name(file.relative_to(src)): file for file in files}


def native_sources(name: str, root: Path = distributions.ROOT) -> list[Path]:
    """Return the C++ files of a package."""
    files = (root / "packages" / name / "cpp").rglob("*")
    return sorted(file for file in files if file.suffix in NATIVE)


def module_name(path: Path) -> str:
    """Return the dotted name of the module at a path relative to `src`."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_private(name: str) -> bool:
    """Whether a name begins with an underscore without being special, like `__doc__`."""
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def is_private_path(dotted: str) -> bool:
    """Whether a part of the dotted name is private, or names a program: nobody imports `__main__`."""
    return any(is_private(part) or part == "__main__" for part in dotted.split("."))


def code_lines(file: Path) -> int:
    """How many lines of a file hold code: without blank lines, comments and docstrings."""
    text = file.read_text()
    if file.suffix in NATIVE:
        return len(native_code_lines(text))
    if file.suffix in PYTHON:
        return len(python_code_lines(text))
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") for line in text.splitlines()
    )


def python_code_lines(text: str, tree: ast.Module | None = None) -> set[int]:
    """Return the numbers of the lines of Python that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for _, docstring in docstrings(tree or ast.parse(text)):
        lines.difference_update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return lines


def native_code_lines(text: str) -> set[int]:
    """Return the numbers of the lines of C++ that hold code."""

    def blanked(match: re.Match[str]) -> str:
        return match[0] if match["comment"] is None else "\n" * match[0].count("\n")

    bare = NATIVE_PIECES.sub(blanked, text)
    return {number for number, line in enumerate(bare.splitlines(), start=1) if line.strip()}


def docstrings(tree: ast.AST) -> Iterator[tuple[Documented, ast.Constant]]:
    """Yield what has a docstring in a syntax tree, and the docstring."""
    for node in ast.walk(tree):
        first = node.body[0] if isinstance(node, Documented) and node.body else None
        text = first.value if isinstance(first, ast.Expr) else None
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            yield node, text
