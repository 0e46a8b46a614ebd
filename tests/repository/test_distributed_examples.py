"""The examples for several processes, run in two; their page shows what changes from one to another."""

import difflib
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "distributed"
PAGE = ROOT / "docs" / "howto" / "several-processes.md"


def losses(name):
    command = [sys.executable, str(FOLDER / "launch.py"), "2", str(FOLDER / f"{name}.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=os.environ)
    assert done.returncode == 0, done.stderr
    found = [float(loss) for loss in re.findall(r"step +\d+  loss (\S+)", done.stdout)]
    assert len(found) == 20
    return found, done.stdout


def test_data_parallel_and_fully_sharded_training_equal_ddp():
    expected, _ = losses("ddp")
    for name in ("data_parallel", "fsdp2"):
        found, said = losses(name)
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 1e-5
    assert "each process holds 177 of 321 parameters" in said


def test_the_page_shows_how_the_script_changes():
    before, after = (
        (FOLDER / f"{name}.py").read_text().partition("def main")[2].splitlines()
        for name in ("ddp", "data_parallel")
    )
    diff = difflib.ndiff(before, after)
    changed = [line.rstrip() for line in diff if line[0] in "+-"]
    (shown,) = re.findall(r"```diff\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [line.rstrip() for line in shown.splitlines() if line[0] in "+-"] == changed
