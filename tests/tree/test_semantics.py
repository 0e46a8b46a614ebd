"""Every cell of the tables of docs/semantics.md, asked of the library itself."""

from pathlib import Path

import pytest

from tests.tree.tree_semantics import FUNCTIONS, answer

PAGE = Path(__file__).parents[2] / "docs" / "semantics.md"
LIBRARIES = ["JAX", "optree", "torch", "dm-tree", "pax_tree"]


def rows():
    """The question of every row, with the answer of each library."""
    columns = None
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("| ").split(" | ")]
        if cells[:2] == ["what", "asked"]:
            columns = cells[2:]
        elif not line.startswith("|"):
            columns = None
        elif columns and set(line) != set("| -"):
            yield cells[1], dict(zip(columns, cells[2:], strict=True))


ROWS = [pytest.param(answers, question, id=question) for question, answers in rows()]


def test_the_page_has_its_rows():
    assert len(ROWS) >= 57
    assert len({row.id for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("answers", "question"), ROWS)
def test_what_the_libraries_say(answers, question):
    assert answers == {library: answer(library, question) for library in LIBRARIES}


@pytest.mark.parametrize(("answers", "question"), ROWS)
def test_dm_says_what_dm_tree_says(answers, question):
    assert answer("pax_tree.dm", question) == answers["dm-tree"]


def test_all_are_asked():
    assert [*LIBRARIES, "pax_tree.dm"] == list(FUNCTIONS)
