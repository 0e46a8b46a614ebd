"""Check that the sources of packages keep the repository's structure, and print where they do not.

    python tools/structure_check.py [pax-torch ...]

Without names it checks all packages. `--graph` prints the import graph of each as well.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import distributions
import foreign_names
import import_graph
from source_files import (
    code_lines,
    docstrings,
    is_generated,
    is_private,
    is_private_path,
    native_sources,
    python_code_lines,
    python_sources,
)

LONGEST_FILE = 500
LONGEST_FUNCTION = 60
MOST_PARAMETERS = 6
SECTIONS = {
    "Args",
    "Attributes",
    "Example",
    "Examples",
    "Note",
    "Raises",
    "References",
    "Returns",
    "Warning",
    "Yields",
}
# A message begins with one of these only where it begins a sentence; other names are those of functions.
ARTICLES = {"a", "an", "each", "expected", "got", "it", "no", "result", "the", "this", "with"}
VALUE = "{}"
HEADING = re.compile(r"( *)([A-Z]\w*):")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Problem = tuple[Path, int, str]
Problems = Iterator[Problem]


def main(arguments: list[str]) -> int:
    """Print each problem of the given packages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="package", help=", ".join(distributions.NAMES))
    parser.add_argument("--graph", action="store_true", help="print the import graphs as well")
    options = parser.parse_args(arguments)
    names = options.names or distributions.NAMES
    if unknown := set(names) - set(distributions.NAMES):
        parser.error(f"no package is called {', '.join(sorted(unknown))}")
    if options.graph:
        import_graph.main(names)
    count = 0
    for name in names:
        for title, check in CHECKS.items():
            for problem in check(name):
                count += 1
                print(f"{describe(problem)} [{title}]")
    print(f"{count} problems.")
    return int(count > 0)


def describe(problem: Problem) -> str:
    """Return the problem as one line."""
    file, line, text = problem
    return f"{file.relative_to(distributions.ROOT)}:{line}: {text}"


def parsed(name: str) -> Iterator[tuple[str, Path, ast.Module]]:
    """Yield the modules of a package, their files and their syntax trees, without what programs write."""
    for module, file in python_sources(name).items():
        if not is_generated(file):
            yield module, file, ast.parse(file.read_text())


def long_files(name: str) -> Problems:
    """Files with too much code."""
    tests = sorted((distributions.folder(name) / "tests").rglob("*.py"))
    for file in [*python_sources(name).values(), *native_sources(name), *tests]:
        if not is_generated(file) and (length := code_lines(file)) > LONGEST_FILE:
            yield file, 1, f"has {length} lines of code, more than {LONGEST_FILE}"


def long_functions(name: str) -> Problems:
    """Functions with too much code."""
    for _, file, tree in parsed(name):
        code = python_code_lines(file.read_text(), tree)
        for node in ast.walk(tree):
            if isinstance(node, Function):
                length = len(code.intersection(range(node.lineno, (node.end_lineno or 0) + 1)))
                if length > LONGEST_FUNCTION:
                    text = f"{node.name}() has {length} lines of code, more than {LONGEST_FUNCTION}"
                    yield file, node.lineno, text


def many_parameters(name: str) -> Problems:
    """Functions outside the public API with too many parameters."""
    public = public_names(name)
    for module, file, tree in parsed(name):
        for path, node in functions(tree):
            first, last = path[0], path[-1]
            is_public = first in public or not (is_private_path(module) or is_private(first))
            if is_public and not is_private(last) and len(path) <= 2:
                continue
            if any("lowering(" in ast.unparse(each) for each in node.decorator_list):
                continue  # a rule has the arguments of PyTorch's operator
            given = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            count = len([each for each in given if each.arg not in {"self", "cls"}])
            if count > MOST_PARAMETERS:
                yield (
                    file,
                    node.lineno,
                    f"{last}() takes {count} parameters, more than {MOST_PARAMETERS}",
                )


def functions(
    tree: ast.AST, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Function]]:
    """Yield the functions in a syntax tree, with the names of what they are defined in and their own."""
    for node in ast.iter_child_nodes(tree):
        is_function = isinstance(node, Function)
        inner = (*path, node.name) if is_function or isinstance(node, ast.ClassDef) else path
        if is_function:
            yield inner, node
        yield from functions(node, inner)


def public_names(name: str) -> set[str]:
    """Return the names that the public modules of a package export, and those of the bases of these classes."""
    trees = {module: tree for module, _, tree in parsed(name)}
    public = {
        each
        for module, tree in trees.items()
        if not is_private_path(module)
        for each in exported(tree) or ()
    }
    nodes = [node for tree in trees.values() for node in tree.body]
    bases = {
        node.name: {ast.unparse(base) for base in node.bases}
        for node in nodes
        if isinstance(node, ast.ClassDef)
    }
    while added := {base for each in public for base in bases.get(each, ())} - public:
        public |= added
    return public


def exported(tree: ast.Module) -> list[str] | None:
    """Return the texts in the `__all__` of a module; None if it has none."""
    for node in tree.body:
        target = assigned(node)
        if target == "__all__":
            return [
                each.value
                for each in ast.walk(node)
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            ]
    return None


def assigned(node: ast.stmt) -> str | None:
    """Return the name that a statement assigns to, if it is one name."""
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0])
    if isinstance(node, (ast.AnnAssign, ast.AugAssign)):
        return ast.unparse(node.target)
    return None


def exports(name: str) -> Problems:
    """Public modules without `__all__`, private modules with one."""
    for module, file, tree in parsed(name):
        has_exports = exported(tree) is not None
        if is_private_path(module) and has_exports:
            yield file, 1, "is private but has an __all__"
        elif not is_private_path(module) and not has_exports and len(tree.body) > 1:
            yield file, 1, "is public but has no __all__"


def leaks(name: str) -> Problems:
    """Names that `dir()` of a public module shows though it does not export them."""
    modules = python_sources(name)
    for module, file, tree in parsed(name):
        if is_private_path(module):
            continue
        known = {*(exported(tree) or ()), *stubbed(file.with_suffix(".pyi"))}
        for line, found in sorted(set(bindings(tree.body))):
            if (
                not found.startswith("_")
                and found not in known
                and f"{module}.{found}" not in modules
            ):
                yield file, line, f"{found!r} is in dir() of the module but not in its __all__"


def stubbed(stub: Path) -> Iterator[str]:
    """Yield the names that a stub exports, if there is one: what it defines, or imports as the same name."""
    for statement in ast.parse(stub.read_text()).body if stub.is_file() else ():
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield from (alias.name for alias in statement.names if alias.name == alias.asname)
        else:
            yield from (name for _, name in bindings([statement]))


def bindings(body: list[ast.stmt]) -> Iterator[tuple[int, str]]:
    """Yield the line and name of everything that the statements of a module bind."""
    for statement in body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                yield statement.lineno, alias.asname or alias.name.partition(".")[0]
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield statement.lineno, statement.name
        elif isinstance(statement, (ast.If, ast.Try, ast.For, ast.With)):
            yield from bindings(statement.body)
            yield from bindings(getattr(statement, "orelse", []))
            yield from stored(getattr(statement, "target", None))
        else:
            yield from stored(statement)


def stored(node: ast.AST | None) -> Iterator[tuple[int, str]]:
    """Yield the line and name of each variable that is assigned to in a statement."""
    for each in ast.walk(node) if node else ():
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.lineno, each.id


def docstring_sections(name: str) -> Problems:
    """Docstrings whose sections are unknown or not indented by four spaces, or that end with a blank line."""
    for _, file, tree in parsed(name):
        for _, node in docstrings(tree):
            lines = str(node.value).expandtabs().splitlines()
            if len(lines) > 1 and not any(line.strip() for line in lines[-2:]):
                yield file, node.lineno, "a blank line stands before the closing quotes"
            for offset, text in section_problems(lines):
                yield file, node.lineno + offset, text


def section_problems(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield the number of the line and the text of each problem of a docstring's sections."""
    margin = min((indent(line) for line in lines[1:] if line.strip()), default=0)
    for number, line in enumerate(lines[1:], start=1):
        heading = HEADING.fullmatch(line.rstrip())
        if heading is None or len(heading[1]) != margin or lines[number - 1].strip():
            continue
        if heading[2] not in SECTIONS:
            yield number, f"{heading[2]!r} is none of the sections {', '.join(sorted(SECTIONS))}"
        body = next((later for later in lines[number + 1 :] if later.strip()), "")
        if indent(body) != margin + 4:
            yield number, f"the contents of {heading[2]!r} are not indented by four spaces"


def indent(line: str) -> int:
    """How many spaces a line begins with."""
    return len(line) - len(line.lstrip())


def messages(name: str) -> Problems:
    """Yield the texts of errors that are no sentence: without a capital or one full stop.

    An error of a class of the package's own, which no user sees, may carry a part of a sentence.
    """
    seen_by_users = {*vars(builtins), *public_names(name)}
    for _, file, tree in parsed(name):
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                text = written(node.exc.args[0])
                error = ast.unparse(node.exc.func).rpartition(".")[2]
                if text is None or error not in seen_by_users:
                    continue
                if text[0].islower() and text.split()[0] in ARTICLES:
                    yield file, node.lineno, f"the message {text[:40]!r} begins without a capital"
                if not text.endswith((".", "?", VALUE)) or text.endswith(".."):
                    yield (
                        file,
                        node.lineno,
                        f"the message {text[-40:]!r} ends without one full stop",
                    )


def written(node: ast.expr) -> str | None:
    """Return the text that an expression writes, with a mark for each value; None if it is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) and node.value else None
    if isinstance(node, ast.JoinedStr):
        return "".join(written(part) or VALUE for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (written(node.left) or VALUE) + (written(node.right) or VALUE)
    return None


def import_circles(name: str) -> Problems:
    """Modules that import one another in a circle, and C++ files that include one another."""
    modules = python_sources(name)
    for circle in import_graph.circles(import_graph.python_graph(modules)):
        yield modules[circle[0]], 1, f"import one another: {', '.join(circle)}"
    files = native_sources(name)
    for circle in import_graph.circles(import_graph.native_graph(files)):
        yield distributions.folder(name) / "cpp", 1, f"include one another: {', '.join(circle)}"


def foreign_privates(name: str) -> Problems:
    """Private names of other libraries outside of `_compat.py`."""
    for file, line, text in foreign_names.outside_the_room(name):
        yield file, line, f"{text} is private in another library and belongs into _compat.py"


def named_sources(name: str) -> Problems:
    """Yield tests that name a source file."""
    folder = distributions.folder(name)
    sources = [*python_sources(name).values(), *native_sources(name)]
    known = {file.name for file in sources if is_private(file.stem) or file.suffix != ".py"}
    pattern = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, sorted(known)))})\b")
    root_tests = (distributions.ROOT / "tests").rglob("*.py")
    for file in sorted([*(folder / "tests").rglob("*.py"), *root_tests]):
        for node in ast.walk(ast.parse(file.read_text())):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and (found := pattern.search(text)):
                yield file, node.lineno, f"names the source file {found[0]}"


CHECKS: dict[str, Callable[[str], Problems]] = {
    "length": long_files,
    "function-length": long_functions,
    "parameters": many_parameters,
    "exports": exports,
    "leaks": leaks,
    "docstrings": docstring_sections,
    "messages": messages,
    "circles": import_circles,
    "foreign": foreign_privates,
    "paths-in-tests": named_sources,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
