"""Rules that every file of the repository keeps."""

import re
import tomllib

import pytest

import distributions
import source_files
from structure_check import LONGEST_FILE

SETTINGS = (distributions.ROOT / "mkdocs.yml").read_text()
SOURCES = {".py", ".pyi", ".cc", ".h", ".sh", ".toml", ".yml", ".yaml", ".cmake", ".txt", ""}


def test_no_source_file_has_more_code_than_the_limit():
    lengths = {
        str(file.relative_to(distributions.ROOT)): source_files.code_lines(file)
        for file in source_files.tracked_files()
        if file.suffix in SOURCES and not source_files.is_generated(file)
    }
    assert len(lengths) > 50
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


@pytest.mark.parametrize("name", distributions.NAMES)
def test_each_package_ships_what_its_registry_page_needs(name):
    folder = distributions.folder(name)
    assert (folder / "LICENSE").read_text() == (distributions.ROOT / "LICENSE").read_text()
    assert (folder / "src" / distributions.import_name(name) / "py.typed").is_file()
    readme = (folder / "README.md").read_text()
    assert readme.startswith(f"# {name}\n")
    assert f"pip install packages/pax-tree{' packages/' * (name != 'pax-tree')}" in readme
    assert f"packages/{name}\n```" in readme
    assert "```python" in readme


@pytest.mark.parametrize("name", distributions.NAMES)
def test_links_of_a_registry_page_are_addresses(name):
    readme = (distributions.folder(name) / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", readme, flags=re.DOTALL))
    assert [link for link in links if not link.startswith("https://")] == []


@pytest.mark.parametrize("name", distributions.NAMES)
def test_each_package_says_where_its_site_and_its_sources_are(name):
    site = re.search(r"^site_url: (\S+)$", SETTINGS, re.MULTILINE)[1]
    repository = re.search(r"^repo_url: (?:&\w+ )?(\S+)$", SETTINGS, re.MULTILINE)[1]
    urls = distributions.project(name)["urls"]
    assert urls["Homepage"] == site
    assert urls["Documentation"] == f"{site}packages/{name}/"
    assert urls["Source"] == repository
    assert all(url.startswith((site, repository)) for url in urls.values())


def test_changelog_has_a_heading_for_each_package():
    unreleased = (distributions.ROOT / "CHANGELOG.md").read_text().split("## [")[1]
    assert unreleased.startswith("Unreleased]\n")
    for name in distributions.NAMES:
        assert f"\n### {name}\n" in unreleased


def test_the_type_checker_is_given_the_sources_of_every_package_and_a_users_program():
    settings = tomllib.loads((distributions.ROOT / "pyproject.toml").read_text())
    given = [distributions.ROOT / path for path in settings["tool"]["pyright"]["include"]]
    sources = [distributions.folder(name) / "src" for name in distributions.NAMES]
    assert given == [*sources, distributions.ROOT / "tests" / "types"]
    assert all(any(path.rglob("*.py")) for path in given)
