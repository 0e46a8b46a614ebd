"""The launcher says plainly what is missing, and what an interrupted run left behind does not stop the next."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
import time

import pytest

import distributions
import environment
import private_hatch
import setup_step

HATCH = distributions.ROOT / "tools" / "hatch"


def launch(launcher, *arguments, cwd=None, **variables):
    outer = {
        key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "HATCH_"))
    }
    return subprocess.run(
        [str(launcher), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**outer, **variables},
        timeout=120,
    )


@pytest.fixture
def checkout(tmp_path):
    """A checkout that was never set up."""
    root = tmp_path / "a checkout"
    shutil.copytree(
        distributions.ROOT / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(distributions.ROOT / "hatch.toml", root)
    shutil.copy(distributions.ROOT / "version.py", root)
    return root


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def only_sentence(result):
    lines = [line for line in result.stderr.splitlines() if line]
    assert result.returncode == 1
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_an_old_python_is_named(checkout, tmp_path):
    old = program(
        tmp_path / "python-old", 'case "$2" in *platform*) echo 3.8.18;; *) exit 1;; esac'
    )
    sentence = only_sentence(launch(checkout / "tools" / "hatch", "--version", PAX_PYTHON=str(old)))
    assert sentence.startswith(
        "tools/hatch: Python 3.11, 3.12 or 3.13 is needed, but only this was found:"
    )
    assert f"{old} (3.8.18)" in sentence


def test_no_python_is_said(checkout):
    sentence = only_sentence(
        launch(checkout / "tools" / "hatch", "--version", PAX_PYTHON="no-such-python")
    )
    assert sentence.startswith("tools/hatch: no Python was found (looked for no-such-python)")


def test_no_network_is_said_and_leaves_nothing_that_passes_for_ready(checkout):
    result = launch(
        checkout / "tools" / "hatch",
        "--version",
        PAX_PYTHON=sys.executable,
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_RETRIES="0",
        PIP_NO_CACHE_DIR="1",
    )
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 1
    assert "network" in last
    assert last.endswith("then run the same command again.")
    assert not private_hatch.is_ready(checkout)


def test_a_checkout_that_cannot_be_written_is_said(checkout):
    (checkout / ".hatch").write_text("a file where the folder should be")
    sentence = only_sentence(
        launch(checkout / "tools" / "hatch", "--version", PAX_PYTHON=sys.executable)
    )
    assert sentence.startswith("tools/hatch: preparing the checkout failed")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("Temporary failure in name resolution", "there is no network"),
        ("CMake Error: No CMAKE_CXX_COMPILER could be found.", r"there is no C\+\+17 compiler"),
        ("something else", "exit status 3"),
    ],
    ids=["disk", "network", "compiler", "unknown"],
)
def test_a_failed_step_is_one_sentence_with_its_cause(output, said, capfd):
    command = [sys.executable, "-c", f"import sys; print({output!r}); sys.exit(3)"]
    with pytest.raises(setup_step.SetupError, match=said) as caught:
        setup_step.run("a step", command)
    assert str(caught.value).startswith("a step failed")
    assert "\n" not in str(caught.value)
    assert output in capfd.readouterr().err


def test_a_full_disk_outside_a_subprocess_is_said():
    with (
        pytest.raises(setup_step.SetupError, match="the disk is full"),
        setup_step.explained("a step"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_missing_compiler_is_said(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(
        setup_step.SetupError,
        match=r"no C\+\+17 compiler was found \(looked for no-such-compiler -O2\)",
    ):
        environment.require_compiler()


def test_a_compiler_that_is_too_old_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv(
        "CXX", str(program(tmp_path / "old-c++", "echo unrecognised option >&2; exit 1"))
    )
    with pytest.raises(setup_step.SetupError, match=r"old-c\+\+ does not compile C\+\+17"):
        environment.require_compiler()


def test_the_second_launcher_waits_for_the_first(tmp_path, capfd):
    order, held = [], threading.Event()

    def first():
        with setup_step.locked(tmp_path):
            held.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    held.wait()
    with setup_step.locked(tmp_path):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert "another tools/hatch is setting this checkout up" in capfd.readouterr().err


@pytest.fixture
def fake_hatch(checkout, monkeypatch):
    """A hatch that makes an environment's python, counts its calls, and fails when told to."""
    monkeypatch.setattr(private_hatch, "executable", lambda root: root / "hatch")
    monkeypatch.setattr(environment, "require_compiler", lambda: None)
    monkeypatch.setattr(environment, "rebuild", lambda *arguments: None)
    lines = [
        "echo called >> calls",
        "mkdir -p .hatch/envs/lint/bin",
        "test ! -e fail || exit 9",
        "touch .hatch/envs/lint/bin/python",
    ]
    program(checkout / "hatch", "\n".join(lines))
    return checkout


def calls(root):
    return (root / "calls").read_text().count("called")


def test_an_environment_is_set_up_once(fake_hatch):
    for _ in range(3):
        environment.ensure(fake_hatch, "lint")
    assert calls(fake_hatch) == 1


def test_an_interrupted_set_up_is_thrown_away_and_made_anew(fake_hatch):
    (fake_hatch / "fail").touch()
    with pytest.raises(setup_step.SetupError):
        environment.ensure(fake_hatch, "lint")
    (fake_hatch / "fail").unlink()
    leftover = fake_hatch / ".hatch" / "envs" / "lint" / "leftover"
    leftover.touch()
    assert not environment.is_ready(fake_hatch, "lint")
    environment.ensure(fake_hatch, "lint")
    assert environment.is_ready(fake_hatch, "lint")
    assert not leftover.exists()


def test_changed_dependencies_make_the_environment_anew(fake_hatch):
    environment.ensure(fake_hatch, "lint")
    settings = fake_hatch / "hatch.toml"
    settings.write_text(settings.read_text().replace('"ruff==', '"another", "ruff=='))
    environment.ensure(fake_hatch, "lint")
    assert calls(fake_hatch) == 2


def test_a_changed_script_does_not(fake_hatch):
    environment.ensure(fake_hatch, "lint")
    settings = fake_hatch / "hatch.toml"
    settings.write_text(settings.read_text().replace("ruff check", "ruff check --quiet"))
    environment.ensure(fake_hatch, "lint")
    assert calls(fake_hatch) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "test"], ("default", "test")),
        (["run", "bench:python", "-c", "1"], ("bench", "python")),
        (["run", "no-such:test"], (None, "test")),
        (["env", "show"], (None, "")),
        ([], (None, "")),
    ],
    ids=["default", "named", "unknown", "no-run", "nothing"],
)
def test_the_environment_of_a_command_is_read_from_it(arguments, expected):
    assert environment.requested(distributions.ROOT, arguments) == expected


def test_native_sources_are_part_of_what_an_environment_is_made_from():
    made = environment.stamps(distributions.ROOT, "default")
    assert {"ready", "ready-pax-tree", "ready-torch2jax-bridge"} == set(made)
    assert {"ready"} == set(environment.stamps(distributions.ROOT, "lint"))


@pytest.fixture
def native_environment(checkout, monkeypatch):
    """An environment with both native packages built, whose pip fails or is interrupted when told to."""
    for package in environment.NATIVE:
        source = checkout / "packages" / package / "cpp" / "source.cc"
        source.parent.mkdir(parents=True)
        source.write_text("first")
    monkeypatch.setattr(environment, "require_compiler", lambda: None)
    python = environment.python(checkout, "default")
    python.parent.mkdir(parents=True)
    broken = "case $* in *$(cat {0}/broken)*) {1};; esac"
    built = 'eval "package=\\${$#}"; cp "$package/cpp/source.cc" "$package/binary"'
    lines = [
        f"if test -e '{checkout}/broken'; then",
        broken.format(f"'{checkout}'", "exit 9"),
        "fi",
    ]
    program(python, "\n".join([*lines, built]))
    wanted = environment.stamps(checkout, "default")
    environment.rebuild(checkout, "default", wanted)
    (environment.folder(checkout, "default") / "ready").write_text(wanted["ready"])
    assert environment.is_ready(checkout, "default")
    return checkout


def edit(root, text):
    for package in environment.NATIVE:
        (root / "packages" / package / "cpp" / "source.cc").write_text(text)


def binaries(root):
    return [(root / "packages" / package / "binary").read_text() for package in environment.NATIVE]


@pytest.mark.parametrize("broken", environment.NATIVE)
def test_a_failed_rebuild_leaves_no_mark_that_calls_its_binary_ready(native_environment, broken):
    root = native_environment
    edit(root, "second")
    (root / "broken").write_text(broken)
    with pytest.raises(setup_step.SetupError):
        environment.ensure(root, "default")
    edit(root, "first")  # the sources that the marks stood for
    assert not environment.is_ready(root, "default")
    (root / "broken").unlink()
    environment.ensure(root, "default")
    assert environment.is_ready(root, "default")
    assert binaries(root) == ["first", "first"]


def test_an_interrupted_rebuild_leaves_no_mark(native_environment, monkeypatch):
    root = native_environment

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    edit(root, "second")
    monkeypatch.setattr(environment, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        environment.ensure(root, "default")
    edit(root, "first")
    assert not environment.is_ready(root, "default")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("launcher", private_hatch.ensure),
        ("envs/lint", lambda root: environment.make(root, "lint")),
    ],
    ids=["hatch", "environment"],
)
def test_the_mark_goes_before_what_it_stands_for(checkout, monkeypatch, name, make):
    folder = checkout / ".hatch" / name
    folder.mkdir(parents=True)
    (folder / "ready").touch()
    seen = []

    def stopped(path, **options):
        seen.append((folder / "ready").exists())
        raise OSError(errno.EIO, "stopped")

    monkeypatch.setattr(shutil, "rmtree", stopped)
    with pytest.raises(setup_step.SetupError):
        make(checkout)
    assert seen == [False]
