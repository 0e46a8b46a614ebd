"""Print which modules of each package import which others, the circles, and what one file alone imports.

python tools/import_graph.py [pax-torch ...]
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import distributions
from source_files import native_sources, python_sources

Graph = dict[str, set[str]]


def main(names: list[str]) -> int:
    """Print the graphs of the packages with the given names, or of all."""
    for name in names or distributions.NAMES:
        for graph in (python_graph(python_sources(name)), native_graph(native_sources(name))):
            if graph:
                print(f"== {name}: {len(graph)} files")
                print("\n".join(report(graph)))
    return 0


def report(graph: Graph) -> Iterator[str]:
    """Yield the lines that describe a graph."""
    for module in sorted(graph):
        yield f"{module} -> {', '.join(sorted(graph[module])) or 'nothing'}"
    for circle in circles(graph):
        yield f"circle: {' <-> '.join(circle)}"
    for module, importer in sorted(imported_once(graph).items()):
        if not module.startswith(f"{importer}."):  # which a package exports
            yield f"imported by one file alone: {module} by {importer}"


def python_graph(modules: Mapping[str, Path]) -> Graph:
    """Which modules each module imports, at its top or inside of functions."""
    return {
        module: set(imported(module, file, modules)) - {module} for module, file in modules.items()
    }


def imported(module: str, file: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules among `modules` that the import statements of a file name."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            source = absolute(node, package)
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                if inner in modules:
                    yield inner
                elif source in modules:
                    yield source


def absolute(node: ast.ImportFrom, package: str) -> str:
    """Return the dotted name of the module that a `from` import names, within a package."""
    if not node.level:
        return node.module or ""
    base = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def native_graph(files: list[Path]) -> Graph:
    """Return which C++ files each C++ file includes, by paths relative to `cpp`."""
    paths = {file: file.parts[file.parts.index("cpp") + 1 :] for file in files}
    names = {file: "/".join(path) for file, path in paths.items()}
    graph: Graph = {}
    for file, name in names.items():
        lines = [line.split('"') for line in file.read_text().splitlines()]
        included = [line[1] for line in lines if line[0].strip() == "#include" and len(line) == 3]
        beside = ["/".join([*paths[file][:-1], path]) for path in included]
        graph[name] = {*included, *beside} & set(names.values()) - {name}
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Return the groups of modules that reach one another."""
    reached = {module: set(reachable(module, graph)) for module in graph}
    groups = {
        tuple(sorted(other for other in reached[module] if module in reached[other]))
        for module in graph
        if module in reached[module]
    }
    return [list(group) for group in sorted(groups)]


def reachable(module: str, graph: Graph) -> Iterator[str]:
    """Yield the modules that a module imports, directly or through others."""
    seen: set[str] = set()
    pending = list(graph[module])
    while pending:
        found = pending.pop()
        if found not in seen:
            seen.add(found)
            yield found
            pending.extend(graph[found])


def imported_once(graph: Graph) -> dict[str, str]:
    """Return the modules that exactly one other module imports, and which one that is."""
    importers = {module: [other for other in graph if module in graph[other]] for module in graph}
    return {module: found[0] for module, found in importers.items() if len(found) == 1}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
