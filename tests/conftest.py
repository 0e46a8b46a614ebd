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
    """Says how much the differential tests have compared and how many code blocks have run."""
    trees = total(terminalreporter, "trees")
    if trees:
        terminalreporter.write_line(f"{trees:,} random trees were compared with other libraries.")
    blocks = total(terminalreporter, "blocks")
    if blocks:
        terminalreporter.write_line(f"{blocks:,} code blocks of the documentation ran.")


def total(terminalreporter, name):
    passed = terminalreporter.stats.get("passed", ())
    properties = [found for report in passed for found in report.user_properties]
    return sum(count for key, count in properties if key == name)
