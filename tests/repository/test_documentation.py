"""Every Python block of the site and of the READMEs runs; the blocks of a page share their names."""

import importlib
import re
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import demo

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("packages/*/README.md"), *ROOT.glob("docs/**/*.md")])
READER = Sybil(parsers=[PythonCodeBlockParser()])

pytestmark = pytest.mark.usefixtures("quick_compilation")


def is_outside(block):
    """Whether a block needs libraries that the environment `outside` alone has; it runs there."""
    above = block.document.text[: block.region.start].rstrip()
    return above.endswith("<!-- outside -->")


class Page:
    """The blocks of a page, run in order and each once."""

    def __init__(self, path):
        self.blocks = [block for block in READER.parse(path).examples() if not is_outside(block)]
        self.done = 0

    def run_through(self, number):
        """Run a block, and before it those above it that this process has not run yet."""
        while self.done <= number:
            block = self.blocks[self.done]
            self.done += 1
            block.evaluate()


page = cache(Page)


def blocks():
    for path in PAGES:
        for number, block in enumerate(page(path).blocks):
            name = path.relative_to(ROOT).with_suffix("").as_posix()
            yield pytest.param(path, number, id=f"{name}-line-{block.line}")


@pytest.mark.parametrize(("path", "number"), list(blocks()))
def test_block(path, number, record_property):
    page(path).run_through(number)
    record_property("blocks", 1)


PRINTS = re.compile(r"<!-- prints -->\n```python\n(.*?)\n```.*?\n```text\n(.*?)\n```", re.DOTALL)
SHOWN = [(path, *found) for path in PAGES for found in PRINTS.findall(path.read_text("utf-8"))]


@pytest.mark.parametrize(("path", "code", "output"), SHOWN, ids=[path.stem for path, *_ in SHOWN])
def test_a_page_shows_what_its_program_prints(path, code, output, capsys):
    exec(compile(code, str(path), "exec"), {})
    assert capsys.readouterr().out.rstrip() == output


def test_the_picture_of_the_readme_shows_the_program_and_what_it_prints():
    """`python tools/demo.py` draws it anew."""
    (code, output) = next((code, output) for path, code, output in SHOWN if path.stem == "index")
    assert demo.PICTURE.read_text("utf-8") == demo.picture(code, output)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_block_escapes_by_its_language(path):
    fences = re.findall(r"^ *```(.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(fences[::2]) <= {"", "python", "bash", "sh", "text", "toml", "diff"}
    assert set(fences[1::2]) <= {""}


def test_each_package_has_a_page_a_reference_and_a_readme():
    for package in (ROOT / "packages").iterdir():
        module = package.name.replace("-", "_")
        assert (package / "README.md").is_file()
        assert (ROOT / "docs" / "packages" / f"{package.name}.md").is_file()
        reference = ROOT / "docs" / "reference"
        pages = [reference / f"{module}.md", *reference.glob(f"{module}/*.md")]
        assert any(f"::: {module}" in page.read_text() for page in pages)
        assert all(f"]({module}/{page.name})" in pages[0].read_text() for page in pages[1:])


@pytest.mark.parametrize("package", ["pax_tree", "pax_torch", "pax_jax", "opax"])
def test_each_public_name_has_its_place_in_the_reference(package):
    """New names go under `members:` of the page of their topic, and into the table of the overview."""
    module = importlib.import_module(package)
    pages = [ROOT / "docs" / "reference" / f"{package}.md"]
    pages += (ROOT / "docs" / "reference" / package).glob("*.md")
    text = "\n".join(page.read_text() for page in pages)
    placed = re.findall(
        rf"^        - (\w+)$|id=\"{package}\.(\w+)\"|#{package}\.(\w+) ", text, re.MULTILINE
    )
    names = {name for name in module.__all__ if not isinstance(getattr(module, name), ModuleType)}
    assert names - {name for found in placed for name in found} - {"Module"} == set()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "reference").rglob("*.md")), ids=lambda path: path.stem
)
def test_no_name_is_twice_on_a_page_of_the_reference(path):
    members = re.findall(r"^        - (\w+)$", path.read_text(), re.MULTILINE)
    assert len(members) == len(set(members))


def places_in_the_architecture():
    """The package and the path of each file and folder that the page on the architecture names."""
    page = (ROOT / "docs" / "concepts" / "architecture.md").read_text(encoding="utf-8")
    for section in page.split("\n## ")[1:]:
        folder = ROOT / "packages" / section.split("\n")[0].replace("_", "-")
        for path in re.findall(r"`([\w/]+(?:/|\.py|\.cc|\.h))`", section):
            if folder.is_dir():
                yield pytest.param(folder, path, id=f"{folder.name}-{path}")


@pytest.mark.parametrize(("folder", "path"), list(places_in_the_architecture()))
def test_the_architecture_names_what_there_is(folder, path):
    sources = folder / "src" / folder.name.replace("-", "_")
    place = folder / path if path.startswith("cpp/") else sources / path
    assert place.is_dir() if path.endswith("/") else place.is_file() or any(sources.rglob(path))
