"""What in this folder is a program that a test runs, not a test; and a count for the summary."""

import pytest

collect_ignore = ["four_devices.py", "lowered_over_devices.py"]


@pytest.fixture
def delays(request):
    """Begins another sequence of random delays on simulated GPUs; a real one has its own."""
    plugin = request.config.pluginmanager.get_plugin("pytest_simulated_gpu")
    return getattr(plugin, "set_seed", lambda seed: None)


def pytest_terminal_summary(terminalreporter):
    """Says how many transforms of how many functions were compared with JAX."""
    passed = terminalreporter.stats.get("passed", ())
    names = [
        name for report in passed for key, name in report.user_properties if key == "transform"
    ]
    if names:
        terminalreporter.write_line(
            f"{len(set(names))} transforms of torch2jax equal JAX's in {len(names)} comparisons."
        )
