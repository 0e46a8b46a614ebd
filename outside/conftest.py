import os
import sys
from pathlib import Path

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
)
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))
SMALL = {"gpt2", "lora", "lstm", "spectral-norm"}  # each kind of model once


def pytest_addoption(parser):
    parser.addoption("--small", action="store_true", help="the slow checks for a few models only")


def pytest_collection_modifyitems(config, items):
    """With --small, leaves out the slow checks of most models."""
    if not config.getoption("--small"):
        return
    kept = [item for item in items if not is_slow(item)]
    config.hook.pytest_deselected(items=[item for item in items if is_slow(item)])
    items[:] = kept


def is_slow(item):
    whole = item.get_closest_marker("whole") is not None
    return whole and item.callspec.params["model"].name not in SMALL


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "default")  # other libraries' own
    config.addinivalue_line("markers", "whole: with --small, for a few models only")


def pytest_terminal_summary(terminalreporter):
    """Prints a table: models by what holds of them."""
    results = {}
    for verdict, mark in (("passed", "yes"), ("failed", "NO")):
        for report in terminalreporter.stats.get(verdict, ()):
            name, _, model = report.nodeid.rpartition("::")[2].rstrip("]").partition("[")
            if report.when == "call":
                results[model, name.removeprefix("test_")] = mark
    models, checks = (list(dict.fromkeys(key[i] for key in results)) for i in (0, 1))
    for check in checks:
        holds = [
            f"{model or 'holds'}: {results[model, check]}"
            for model in models
            if (model, check) in results
        ]
        terminalreporter.write_line(f"{check}: {', '.join(holds)}")
