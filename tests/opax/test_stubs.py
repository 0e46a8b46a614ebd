"""The stubs of opax, which a tool writes for the installed optax."""

from __future__ import annotations

from pathlib import Path

import optax

import opax
import opax_stubs


def test_the_stubs_are_those_of_the_installed_optax():
    """For the optax they were written for; another version's are written by the tool."""
    folder = Path(opax.__file__).parent
    for name, text in opax_stubs.stubs().items():
        written = (folder / name).read_text(encoding="utf-8")
        compile(written, name, "exec")
        if f"for optax {optax.__version__}." in written:
            assert written == text.rstrip() + "\n"
