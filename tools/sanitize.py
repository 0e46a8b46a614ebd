"""Compile pax-tree with AddressSanitizer and UndefinedBehaviorSanitizer, and run its tests so.

The arguments go to pytest. Leaks of memory are not looked for here, because the interpreter frees
little at its end; the tests of leaks count references and blocks instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "packages" / "pax-tree"
BUILD = ROOT / ".hatch" / "sanitize" / "build"
SITE = ROOT / ".hatch" / "sanitize" / "site"


def main(arguments: list[str]) -> int:
    compile_extension()
    copy_package()
    tests = [sys.executable, "-m", "pytest", str(PACKAGE / "tests"), "--rootdir", str(ROOT)]
    return subprocess.run([*tests, *arguments], env=os.environ | settings(), cwd=ROOT).returncode


def compile_extension() -> None:
    """Compile into a folder that is kept, so that the next time only what changed is compiled."""
    configure = ["cmake", "-S", str(PACKAGE), "-B", str(BUILD), "-G", "Ninja"]
    options = {
        "CMAKE_BUILD_TYPE": "RelWithDebInfo",
        "PAX_TREE_SANITIZE": "ON",
        "Python_EXECUTABLE": sys.executable,
    }
    subprocess.run(
        [*configure, *(f"-D{name}={value}" for name, value in options.items())], check=True
    )
    subprocess.run(["cmake", "--build", str(BUILD)], check=True)


def copy_package() -> None:
    """Put the Python files and the extension together."""
    shutil.rmtree(SITE, ignore_errors=True)
    leave_out = shutil.ignore_patterns("_C.*.so", "__pycache__")
    shutil.copytree(PACKAGE / "src", SITE, ignore=leave_out)
    for extension in BUILD.glob("_C*.so"):
        shutil.copy(extension, SITE / "pax_tree")


def settings() -> dict[str, str]:
    """Return the variables under which an interpreter without sanitizers runs an extension with them."""
    libraries = [library("libasan.so"), library("libubsan.so"), library("libstdc++.so")]
    return {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(SITE),
        "PAX_TREE_LEAK_CALLS": "300",
    }


def library(name: str) -> str:
    found = subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
