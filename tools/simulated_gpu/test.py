"""Run the tests of the GPU on two simulated ones. The arguments go to pytest.

python tools/simulated_gpu/test.py [argument ...]
"""

from __future__ import annotations

import sys

from run import ROOT, main

OPTIONS = ["--devices", "2", "--delay-us", "500"]
PYTEST = ["-m", "pytest", "-m", "gpu", "-p", "pytest_simulated_gpu", "-p", "no:cacheprovider"]
# Warnings of versions that are not pinned are shown, not raised.
PYTEST += ["-W", "default", "--rootdir", str(ROOT), "--config-file", str(ROOT / "pyproject.toml")]


def files() -> list[str]:
    """Return the test files of the GPU, those of the simulation first."""
    patterns = ("tools/simulated_gpu/tests/test_*.py", "packages/*/tests/test_*gpu.py")
    return [str(file) for pattern in patterns for file in sorted(ROOT.glob(pattern))]


if __name__ == "__main__":
    main([*OPTIONS, "python", *PYTEST, *files(), *sys.argv[1:]])
