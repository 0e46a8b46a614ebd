"""One version in one place: the pins between siblings, the installed metadata and the bump tool agree with it."""

import importlib
import importlib.metadata
import itertools
import re
import shutil
import subprocess
import sys

import pytest

import bump
import distributions


def sibling_pins(name):
    project = distributions.project(name)
    extras = project.get("optional-dependencies", {}).values()
    for requirement in itertools.chain(project["dependencies"], *extras):
        sibling = re.match(r"[a-z0-9-]+", requirement)[0]
        if sibling in distributions.NAMES:
            yield sibling, requirement


@pytest.mark.parametrize("name", distributions.NAMES)
def test_siblings_are_pinned_to_the_one_version(name):
    for sibling, requirement in sibling_pins(name):
        assert requirement == f"{sibling}=={distributions.version()}"


@pytest.mark.parametrize("name", distributions.NAMES)
def test_installed_metadata_carries_the_version(name):
    assert importlib.metadata.version(distributions.registry_name(name)) == distributions.version()


@pytest.mark.parametrize("name", distributions.NAMES)
def test_each_package_says_its_version(name):
    module = importlib.import_module(distributions.import_name(name))
    assert module.__version__ == distributions.version()


def test_every_package_but_the_core_pins_a_sibling():
    assert [name for name in distributions.NAMES if not list(sibling_pins(name))] == ["pax-tree"]


@pytest.fixture
def copied_root(tmp_path):
    for name in distributions.NAMES:
        copy(f"packages/{name}/pyproject.toml", tmp_path)
        copy(f"packages/{name}/src/{distributions.import_name(name)}/__init__.py", tmp_path)
    for name in ("version.py", "CHANGELOG.md", "CITATION.cff", "conda/recipe.yaml"):
        copy(name, tmp_path)
    return tmp_path


def copy(path, root):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(distributions.ROOT / path, root / path)


def test_bump_changes_every_place(copied_root):
    old = distributions.version()
    bump.bump(copied_root, "7.8.9")
    texts = {file: file.read_text() for file in copied_root.rglob("*") if file.is_file()}
    assert '"7.8.9"' in texts[copied_root / "version.py"]
    assert "## [7.8.9] - 20" in texts[copied_root / "CHANGELOG.md"]
    sibling = rf'"(?:{"|".join(distributions.NAMES)})==([^"]+)"'
    pins = [pin for text in texts.values() for pin in re.findall(sibling, text)]
    assert pins == ["7.8.9"] * 5
    del texts[copied_root / "CHANGELOG.md"]
    assert not any(old in text for text in texts.values())
    assert sum(text.count("7.8.9") for text in texts.values()) == 5 + 5 + 3


def test_bump_to_a_development_version_leaves_the_changelog(copied_root):
    before = (copied_root / "CHANGELOG.md").read_text()
    bump.bump(copied_root, "7.8.9.dev0")
    assert (copied_root / "CHANGELOG.md").read_text() == before


def test_bump_refuses_what_is_no_version():
    command = [sys.executable, str(distributions.ROOT / "tools" / "bump.py"), "one"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith(
        "bump: 'one' was given as the version; expected one such as 1.2.0"
    )
    assert result.stderr.count("\n") == 1
