"""The flags that decide which CI jobs run."""

import subprocess
import sys

import pytest

import changed
import distributions


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (["packages/pax-tree/cpp/some.cc"], True),
        (["README.md"], True),
        (["packages/opax/README.md"], True),
        (["docs/index.md"], True),
        (["docs/picture.png", "LICENSE.txt"], True),
        (["CONTRIBUTING.md"], False),
        (["CONTRIBUTING.md", ".github/workflows/ci.yml"], True),
        ([], False),
        (None, True),
    ],
)
def test_tested_files_count_as_code(files, code):
    assert changed.flags(files) == {"code": code}


def test_an_unknown_commit_counts_as_everything_changed():
    command = [sys.executable, str(distributions.ROOT / "tools" / "changed.py"), "0" * 40]
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=distributions.ROOT
    )
    assert result.stdout == "code=true\n"
