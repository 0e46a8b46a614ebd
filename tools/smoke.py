"""Build every distribution, and test each one's wheel alone in an empty environment outside the checkout."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import distributions

QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "1"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dist", type=Path, default=distributions.ROOT / "dist", help="where to put what is built"
    )
    parser.add_argument(
        "--only",
        choices=distributions.NAMES,
        action="append",
        help="test only this package's wheel",
    )
    parser.add_argument(
        "--built", action="store_true", help="take what DIST holds instead of building it"
    )
    options = parser.parse_args()
    for variable in ("PYTHONPATH", "PIP_CONSTRAINT"):
        os.environ.pop(variable, None)
    dist = options.dist.resolve()
    if not options.built:
        shutil.rmtree(dist, ignore_errors=True)
        for name in distributions.NAMES:
            build(name, dist)
    check_files(dist)
    run(
        "checking their metadata",
        [sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(dist.iterdir()))],
    )
    for name in options.only or distributions.NAMES:
        with tempfile.TemporaryDirectory(prefix=f"{name}-") as scratch:
            test_alone(name, dist, Path(scratch).resolve())
    print(
        f"release:smoke: {len(list(dist.iterdir()))} files are in {dist}; "
        f"{len(options.only or distributions.NAMES)} packages work alone."
    )
    return 0


def run(step: str, command: list[str], **options) -> None:
    """Run one step; end the program with a sentence that names it when it fails."""
    print(f"release:smoke: {step}", flush=True)
    status = subprocess.run(command, env={**os.environ, **QUIET}, **options).returncode
    if status:
        sys.exit(f"release:smoke: {step} failed with exit status {status}; its output is above.")


def build(name: str, dist: Path) -> None:
    """Build the sdist, and the wheel from that sdist."""
    command = [
        sys.executable,
        "-m",
        "build",
        "--outdir",
        str(dist),
        str(distributions.folder(name)),
    ]
    run(f"building {name}", command, stdout=subprocess.DEVNULL)


def check_files(dist: Path) -> None:
    """There are wheels and one sdist per package, and native wheels say what they run on."""
    for name in distributions.NAMES:
        stem = distributions.file_stem(name)
        wheels = list(dist.glob(f"{stem}-*.whl"))
        if not wheels or not (dist / f"{stem}.tar.gz").is_file():
            found = ", ".join(sorted(file.name for file in dist.iterdir()))
            sys.exit(f"release:smoke: expected wheels and a sdist {stem}, but found {found}.")
        native = (distributions.folder(name) / "CMakeLists.txt").is_file()
        for wheel in wheels:
            if native == wheel.name.endswith("-none-any.whl"):
                kind = "native" if native else "pure Python"
                sys.exit(f"release:smoke: {name} is {kind}, but a wheel is named {wheel.name}.")


def test_alone(name: str, dist: Path, scratch: Path) -> None:
    """Install one wheel into an empty environment, import it in isolated mode and run its tests there."""
    python = str(scratch / "venv" / "bin" / "python")
    venv.create(scratch / "venv", with_pip=True)
    constraints = scratch / "constraints.txt"
    constraints.write_text(
        f"torch=={distributions.pinned('PAX_TORCH')}\njax=={distributions.pinned('PAX_JAX')}\n"
    )
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--find-links",
        str(dist),
        "--constraint",
        str(constraints),
    ]
    package = f"{distributions.registry_name(name)}=={distributions.version()}"
    run(
        f"installing {name} alone",
        [*install, "--only-binary", distributions.registry_name(name), package],
    )
    run(f"importing {name}", [python, "-I", "-c", import_check(name)], cwd=scratch)
    run(f"installing the test tools beside {name}", [*install, *distributions.TEST_REQUIREMENTS])
    shutil.copytree(distributions.folder(name) / "tests", scratch / "tests")
    shutil.copy(distributions.ROOT / "pyproject.toml", scratch)
    pytest = [python, "-I", "-m", "pytest", "-q"]
    run(f"testing {name}", [*pytest, "tests"], cwd=scratch)
    if extras := distributions.extras(name):
        run(f"installing the extras of {name}", [*install, with_extras(package, extras)])
    examples = [*pytest, "--pyargs", distributions.import_name(name)]
    run(f"running the examples of {name}", examples, cwd=scratch)


def with_extras(requirement: str, extras: list[str]) -> str:
    """Return a pinned requirement, with extras."""
    return requirement.replace("==", f"[{','.join(extras)}]==")


def import_check(name: str) -> str:
    """Return a program that imports the package and says where from; it fails if something foreign came along."""
    module, foreign = distributions.import_name(name), sorted(distributions.FOREIGN[name])
    return (
        "import importlib.metadata, importlib.util, sys\n"
        f"import {module}\n"
        f"version = importlib.metadata.version({distributions.registry_name(name)!r})\n"
        f"assert version == {distributions.version()!r}, version\n"
        f"assert not set({foreign!r}) & set(sys.modules)\n"
        f"assert {module}.__file__.startswith(sys.prefix), {module}.__file__\n"
        f"brought = [other for other in {foreign!r} if importlib.util.find_spec(other)]\n"
        f"assert not brought, 'installing {name} alone brought ' + ', '.join(brought)\n"
    )


if __name__ == "__main__":
    sys.exit(main())
