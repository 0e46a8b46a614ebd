"""What in this folder is a program that a test runs, not a test; and a count for the summary."""

collect_ignore = ["four_devices.py"]


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
