"""Each example, run as its page says, but for a few steps."""

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
RUNS = {
    "char_rnn": (["--hidden", "16", "--batch", "8", "--length", "16", "--write", "20"], 1),
    "digits": (["--batch", "32"], 1),
    "mixed_precision": (["--batch", "32"], 2),
    "fine_tuning": (["--batch", "32"], 2),
}
ENDS = {
    "char_rnn": r"step 12/12  loss \d\.\d{4}\n(.|\n){20,}",
    "digits": r"test accuracy: \d+\.\d%\n",
    "mixed_precision": r"half precision: test accuracy \d+\.\d%, loss scale 32768\n",
    "fine_tuning": (
        r"digits 5-9: 2,565 trained parameters\n(.|\n)*digits 5-9: test accuracy \d+\.\d%\n"
        r"unchanged: modules\.0\.bias, modules\.0\.weight, modules\.2\.bias, modules\.2\.weight\n"
    ),
}


def command(name, *arguments):
    return [sys.executable, "-W", "error", str(FOLDER / f"{name}.py"), *map(str, arguments)]


def environment():
    # Colours may be forced where the tests run; the lines that are read here are plain.
    plain = {key: os.environ[key] for key in os.environ.keys() - {"FORCE_COLOR", "TTY_COMPATIBLE"}}
    return {**plain, "COLUMNS": "100", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def run(name, *arguments):
    return subprocess.run(
        command(name, *arguments), capture_output=True, text=True, timeout=280, env=environment()
    )


@pytest.mark.parametrize("name", RUNS)
def test_example_runs_and_learns(name):
    arguments, trainings = RUNS[name]
    done = run(name, "--steps", 12, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(ENDS[name] + r"\Z", done.stdout), done.stdout
    losses = [float(loss) for loss in re.findall(r"step \d+/12  loss (\S+)", done.stdout)]
    assert len(losses) == 10 * trainings
    for training in range(trainings):
        first, *_, last = losses[10 * training : 10 * training + 10]
        assert last < first


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "digits",
            ["--steps", "0"],
            "argument --steps: '0' is not a whole number from 1 to 1000000",
        ),
        ("char_rnn", ["--text", "/nowhere"], "cannot read '/nowhere' (No such file or directory)"),
    ],
)
def test_a_wrong_argument_of_an_example_is_one_line(name, arguments, message):
    done = run(name, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{name}: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_an_example_stops_at_ctrl_c_and_shows_a_bar_in_a_terminal():
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        command("char_rnn", "--steps", 100_000, *RUNS["char_rnn"][0]),
        stdout=inside,
        stderr=subprocess.PIPE,
        env={**environment(), "TERM": "xterm"},
    )
    os.close(inside)
    try:
        shown = b""
        while not re.search(rb"[1-9]\d*/100000", shown):  # a step was taken
            shown += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
        os.close(terminal)
    assert process.returncode == 130
    assert errors.decode() == "char_rnn: stopped\n"
    assert "━" in shown.decode(errors="ignore")
    assert re.search(rb"loss \d\.\d{4}", shown)


def test_every_example_is_run_and_documented():
    scripts = {path.stem for path in FOLDER.glob("*.py")} - {"frame", "digits_data"}
    assert scripts == set(RUNS)
    page = (FOLDER.parent / "docs" / "examples.md").read_text()
    assert all(f"examples/{name}.py" in page for name in scripts)
