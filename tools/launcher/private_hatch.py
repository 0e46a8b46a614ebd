"""The pinned hatch in its private virtual environment, `.hatch/launcher`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from setup_step import SetupError, explained, run

REQUIREMENTS = ("hatch==1.18.2",)
OUTER = (
    "HATCH_ENV",
    "HATCH_ENV_ACTIVE",
    "HATCH_PROJECT",
    "HATCH_PYTHON",
    "VIRTUAL_ENV",
    "PYTHONHOME",
    "PYTHONPATH",
)


def variables(root: Path) -> dict[str, str]:
    """Return the variables that keep everything of hatch's in the checkout, whatever environment is around it."""
    for name in OUTER:
        os.environ.pop(name, None)
    folder = root / ".hatch"
    return {
        "HATCH_CONFIG": str(folder / "config.toml"),
        "HATCH_DATA_DIR": str(folder / "data"),
        "HATCH_CACHE_DIR": str(folder / "cache"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def folder(root: Path) -> Path:
    return root / ".hatch" / "launcher"


def executable(root: Path) -> Path:
    return folder(root) / "bin" / "hatch"


def stamp(root: Path) -> str:
    """Return what the private environment was made from; it is made anew when this changes (it moved, say)."""
    return "\n".join([str(root), os.path.realpath(sys.executable), sys.version, *REQUIREMENTS])


def is_ready(root: Path) -> bool:
    ready = folder(root) / "ready"
    return ready.is_file() and ready.read_text() == stamp(root) and executable(root).is_file()


def ensure(root: Path) -> None:
    if is_ready(root):
        return
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            f"{sys.executable} lacks venv or ensurepip; install your system's python3-venv package."
        )
    with explained("making hatch's private environment"):
        (folder(root) / "ready").unlink(missing_ok=True)
        shutil.rmtree(folder(root), ignore_errors=True)
        folder(root).parent.mkdir(exist_ok=True)
        write_configuration(root)
    run(
        "making hatch's private environment (once)",
        [sys.executable, "-m", "venv", str(folder(root))],
    )
    pip = [str(folder(root) / "bin" / "python"), "-m", "pip", "install", "--progress-bar", "off"]
    run("installing hatch into it", [*pip, *REQUIREMENTS])
    with explained("finishing hatch's private environment"):
        (folder(root) / "ready").write_text(stamp(root))


def write_configuration(root: Path) -> None:
    """Bind hatch to this checkout, whatever folder it is called from."""
    location = str(root).replace("\\", "\\\\").replace('"', '\\"')
    text = f'mode = "project"\nproject = "pax"\n\n[projects.pax]\nlocation = "{location}"\n'
    (root / ".hatch" / "config.toml").write_text(text)
