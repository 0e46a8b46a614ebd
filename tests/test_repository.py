"""Rules that every file of the repository keeps."""

import subprocess

import pytest

import distributions

SOURCES = {".py", ".pyi", ".cc", ".h", ".sh", ".toml", ".yml", ".yaml", ".cmake", ".txt", ""}
LONGEST = 400
GENERATED = b"# Written by `python -m "


def tracked_files():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=distributions.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [distributions.ROOT / name for name in listed.stdout.split("\0") if name]


def is_generated(file):
    return file.read_bytes().startswith(GENERATED)


def test_no_source_file_is_longer_than_the_limit():
    lengths = {
        str(file.relative_to(distributions.ROOT)): len(file.read_bytes().splitlines())
        for file in tracked_files()
        if file.is_file() and file.suffix in SOURCES and not is_generated(file)
    }
    assert len(lengths) > 50
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


@pytest.mark.parametrize("name", distributions.NAMES)
def test_each_package_ships_what_its_registry_page_needs(name):
    folder = distributions.folder(name)
    assert (folder / "LICENSE").read_text() == (distributions.ROOT / "LICENSE").read_text()
    assert (folder / "src" / distributions.import_name(name) / "py.typed").is_file()
    readme = (folder / "README.md").read_text()
    assert readme.startswith(f"# {name}\n")
    assert f"pip install {name}" in readme
    assert "```python" in readme


def test_changelog_has_a_heading_for_each_package():
    unreleased = (distributions.ROOT / "CHANGELOG.md").read_text().split("## [")[1]
    assert unreleased.startswith("Unreleased]\n")
    for name in distributions.NAMES:
        assert f"\n### {name}\n" in unreleased
