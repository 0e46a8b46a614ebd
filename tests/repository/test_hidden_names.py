"""Where a private name of another library is gone, a package imports, and works or says what it needs."""

import json
import os
import subprocess
import sys

import pytest

import distributions

SCRIPT = distributions.ROOT / "tests" / "repository" / "hidden_names.py"
ENVIRONMENT = {**os.environ, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("name", distributions.NAMES)
def test_basic_calls_without_each_private_name(name):
    command = [sys.executable, "-W", "ignore", str(SCRIPT), name]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    results = json.loads(result.stdout)
    assert set(results.pop("nothing").values()) == {"ok"}
    wrong = {
        f"without {hidden}, {call}": outcome
        for hidden, outcomes in results.items()
        for call, outcome in outcomes.items()
        if outcome != "ok" and not outcome.startswith("says: ")
    }
    assert wrong == {}, "\n\n".join(f"{where}:\n{outcome}" for where, outcome in wrong.items())
