"""The tools of a release: the tag, the notes, the public API and the name in the registry."""

import subprocess

import pytest

import api_check
import changelog
import distributions
import release_check
import release_notes

CHANGES = """# Changelog

## [Unreleased]

{unreleased}
## [1.0.0] - 2026-01-01

### pax-tree

- The first release.
"""
SOURCE = "def walk(tree, is_leaf=None):\n    return tree\n\n__all__ = ['walk']\n"


def git(root, *arguments):
    identity = ["-c", "user.name=A Developer", "-c", "user.email=developer@example.com"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def released(tmp_path):
    """A repository with the core alone, released as v1.0.0, and one commit later."""
    write(tmp_path, SOURCE, "")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "Release")
    git(tmp_path, "tag", "v1.0.0")
    (tmp_path / "packages/pax-tree/src/pax_tree/_more.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "Go on")
    return tmp_path


def write(root, source, unreleased):
    package = root / "packages/pax-tree/src/pax_tree"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(source)
    (root / "CHANGELOG.md").write_text(CHANGES.format(unreleased=unreleased))


class TestApi:
    def test_same_api(self, released):
        write(released, SOURCE + "\ndef more():\n    pass\n", "")
        assert list(api_check.undeclared(released, "v1.0.0")) == []

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            (SOURCE.replace("walk", "march"), "walk"),
            (SOURCE.replace("is_leaf=None", "leaf=None"), "is_leaf"),
            (SOURCE.replace("is_leaf=None", "is_leaf"), "is_leaf"),
            (SOURCE.replace("tree, is_leaf=None", "is_leaf, tree"), "walk"),
        ],
        ids=["removed", "renamed", "required", "moved"],
    )
    def test_breaking_change(self, released, source, told):
        write(released, source, "### pax-tree\n\n- Something else about `walk`.\n")
        problems = list(api_check.undeclared(released, "v1.0.0"))
        assert problems
        assert all(problem.startswith("pax-tree: ") and told in problem for problem in problems)

    def test_breaking_change_with_an_entry(self, released):
        write(
            released,
            SOURCE.replace("is_leaf=None", "leaf=None"),
            "### pax-tree\n\n- **Breaking:** the argument of\n  `walk` is now `leaf`.\n",
        )
        assert list(api_check.undeclared(released, "v1.0.0")) == []

    def test_entry_of_another_package_does_not_count(self, released):
        entry = "### pax-torch\n\n- **Breaking:** `walk` is gone.\n"
        write(released, SOURCE.replace("walk", "march"), entry)
        assert list(api_check.undeclared(released, "v1.0.0"))

    def test_every_package_is_read(self):
        for name in distributions.NAMES:
            module = api_check.load(name, distributions.ROOT)
            public = [member for member in module.members.values() if member.is_public]
            assert len(public) >= 5, name

    def test_last_tag(self, released):
        assert api_check.last_tag(released) == "v1.0.0"
        assert api_check.last_tag(released, "HEAD~5") is None


class TestTag:
    def test_version_with_its_heading(self, released):
        assert release_check.why_not(released, "v1.0.0", "1.0.0") is None

    @pytest.mark.parametrize(
        ("tag", "version", "reason"),
        [
            ("v1.0.0", "1.0.1", "the tag is v1.0.0, but version.py says 1.0.1; expected v1.0.1"),
            ("v1.0.1", "1.0.1", r"CHANGELOG.md says nothing under a heading \[1.0.1\]"),
            ("v1.0.0.dev0", "1.0.0.dev0", "1.0.0.dev0 is a development version"),
        ],
    )
    def test_reasons_against_it(self, released, tag, version, reason):
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(release_check.why_not(released, tag, version))


class TestNotes:
    def test_a_later_release_counts_what_changed(self, released):
        entry = "### pax-tree\n\n- Faster.\n"
        (released / "CHANGELOG.md").write_text(CHANGES.format(unreleased=f"## [1.1.0]\n\n{entry}"))
        for name in distributions.NAMES:
            (released / "packages" / name).mkdir(exist_ok=True)
        git(released, "commit", "-qam", "Release again")
        notes = release_notes.notes(released, "1.1.0")
        assert "All five packages are released as 1.1.0." in notes
        assert "| pax-tree | 1 |" in notes
        assert "| opax | none (same code, new version) |" in notes
        assert "## pax-tree\n\n- Faster." in notes
        assert "since v1.0.0" in notes

    def test_first_release_of_this_repository(self):
        notes = release_notes.notes(distributions.ROOT, distributions.version())
        assert all(f"## {name}\n" in notes for name in distributions.NAMES)


def test_sections_of_the_changelog(released):
    assert changelog.section(released, "pax-tree") == "- The first release."
    assert changelog.section(released, "pax-tree", "1.0.0") == "- The first release."
    assert changelog.section(released, "pax-tree", "9.9.9") == ""
    assert changelog.section(released, "opax") == ""


def test_one_line_changes_the_name_in_the_registry(monkeypatch, tmp_path):
    folder = tmp_path / "packages" / "opax"
    folder.mkdir(parents=True)
    text = (distributions.folder("opax") / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(text.replace('name = "opax"', 'name = "pax-opax"'))
    (tmp_path / "version.py").write_text('__version__ = "1.2.3"\n')
    monkeypatch.setattr(distributions, "ROOT", tmp_path)
    assert distributions.registry_name("opax") == "pax-opax"
    assert distributions.file_stem("opax") == "pax_opax-1.2.3"
    assert distributions.import_name("opax") == "opax"
