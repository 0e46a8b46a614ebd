import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools"), str(ROOT / "tools" / "launcher")]


@pytest.fixture(scope="module")
def quick_compilation():
    """XLA compiles with fewer optimizations: the tests of a module are many small programs."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def pytest_terminal_summary(terminalreporter):
    """Says how many random trees the differential tests have compared."""
    passed = terminalreporter.stats.get("passed", ())
    trees = sum(
        count for report in passed for name, count in report.user_properties if name == "trees"
    )
    if trees:
        terminalreporter.write_line(f"{trees:,} random trees were compared with other libraries.")
