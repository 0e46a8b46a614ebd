"""The hatch environment that a command runs in: made whole or made anew, and rebuilt when native sources change."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

import private_hatch
from setup_step import SetupError, explained, run

NATIVE = ("pax-tree", "torch2jax-bridge")
CXX17 = """\
#include <optional>
#include <string_view>
int main() { if constexpr (true) return std::optional<int>{0}.value(); }
"""


def requested(root: Path, arguments: list[str]) -> tuple[str | None, str]:
    """Return the environment and command of `run [ENV:]COMMAND`; no environment for hatch's other commands."""
    if len(arguments) < 2 or arguments[0] != "run":
        return None, ""
    name, separator, command = arguments[1].rpartition(":")
    name = name if separator else "default"
    return (name if name in configured(root) else None), command


def configured(root: Path) -> dict:
    with (root / "hatch.toml").open("rb") as file:
        return tomllib.load(file)["envs"]


def contents(root: Path, name: str) -> dict:
    """Return what decides the environment's contents: its own table over the default's, without the scripts."""
    environments = configured(root)
    table = {} if environments[name].get("detached") else dict(environments["default"])
    table.update(environments[name])
    table.pop("scripts", None)
    return table


def folder(root: Path, name: str) -> Path:
    return root / ".hatch" / "envs" / name


def python(root: Path, name: str) -> Path:
    return folder(root, name) / "bin" / "python"


def is_ready(root: Path, name: str) -> bool:
    return all(
        (folder(root, name) / mark).is_file() and (folder(root, name) / mark).read_text() == stamp
        for mark, stamp in stamps(root, name).items()
    )


def stamps(root: Path, name: str) -> dict[str, str]:
    """Return what the environment is made from: its settings, and per native package the compiled sources."""
    table = contents(root, name)
    members = [root / member for member in table.get("workspace", {}).get("members", ())]
    versions = {key: os.environ.get(key) for key in ("PAX_TORCH", "PAX_JAX")}
    metadata = digest([root / "version.py", *(member / "pyproject.toml" for member in members)])
    made = {
        "ready": "\n".join([json.dumps([table, versions]), metadata, private_hatch.stamp(root)])
    }
    for member in members:
        if member.name in NATIVE:
            made[f"ready-{member.name}"] = digest(native_sources(member))
    return made


def native_sources(package: Path) -> list[Path]:
    return [package / "CMakeLists.txt", *package.glob("cpp/**/*"), *package.glob("include/**/*")]


def digest(files: list[Path]) -> str:
    total = hashlib.sha256()
    for file in sorted(file for file in files if file.is_file()):
        total.update(str(file).encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()


def ensure(root: Path, name: str) -> None:
    """Bring the environment up to date; what an interrupted run left half made is thrown away first."""
    if is_ready(root, name):
        return
    wanted, mark = stamps(root, name), folder(root, name) / "ready"
    if not mark.is_file() or mark.read_text() != wanted["ready"] or not python(root, name).exists():
        if len(wanted) > 1:
            require_compiler()
        make(root, name)
    else:
        require_compiler()
        rebuild(root, name, wanted)
    with explained(f"finishing the environment {name}"):
        for mark_name, stamp in wanted.items():
            (folder(root, name) / mark_name).write_text(stamp)


def make(root: Path, name: str) -> None:
    with explained(f"clearing the environment {name}"):
        if folder(root, name).exists():
            (folder(root, name) / "ready").unlink(missing_ok=True)
            shutil.rmtree(folder(root, name))
    hatch = str(private_hatch.executable(root))
    run(
        f"setting up the environment {name} (once; the first takes a few minutes)",
        [hatch, "--verbose", "--no-color", "env", "create", name],
        cwd=root,
        env={**os.environ, "PIP_PROGRESS_BAR": "off", "HATCH_INTERACTIVE": "0"},
    )
    if not python(root, name).exists():
        raise SetupError(
            f"hatch made no environment {name} at {folder(root, name)}; check its `path` in hatch.toml."
        )


def rebuild(root: Path, name: str, wanted: dict[str, str]) -> None:
    """Build the native packages whose sources changed; one that is not built to its end has no mark."""
    for package in NATIVE:
        mark = folder(root, name) / f"ready-{package}"
        if mark.name not in wanted or (mark.is_file() and mark.read_text() == wanted[mark.name]):
            continue
        with explained(f"rebuilding {package}"):
            mark.unlink(missing_ok=True)
        pip = [str(python(root, name)), "-m", "pip", "install", "--quiet", "--no-deps"]
        run(
            f"rebuilding {package}, whose native sources changed",
            [*pip, "-e", str(root / "packages" / package)],
        )
        with explained(f"rebuilding {package}"):
            mark.write_text(wanted[mark.name])


def require_compiler() -> None:
    """Compile a small C++17 program before anything long starts."""
    candidates = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    present = [name for name in candidates if shutil.which(name.split()[0])]
    if not present:
        looked = ", ".join(candidates)
        raise SetupError(
            f"no C++17 compiler was found (looked for {looked}); install g++ or clang++, or name one in CXX."
        )
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        raise SetupError(
            f"{sys.executable} has no Python.h; install your system's python3-dev package."
        )
    with explained("trying the C++ compiler"), tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "cxx17.cc")
        source.write_text(CXX17)
        command = [*present[0].split(), "-std=c++17", "-fsyntax-only", str(source)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            if "No space left" in result.stderr:
                raise OSError(28, "No space left on device")
            raise SetupError(
                f"{present[0]} does not compile C++17; install g++ 9 or clang 10 or newer, or name one in CXX."
            )
