"""`python -m torch2jax_bridge`: every check has a line and a verdict, and one that fails is told."""

from torch2jax_bridge import _self_check


def test_bridge_self_check_passes(capsys):
    assert _self_check.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("torch2jax-bridge ")
    count = len(_self_check.CHECKS)
    assert sum(": FAILED" in line or " ok (" in line for line in lines) >= count
    assert lines[-1].endswith("checks passed.")


def test_bridge_self_check_that_fails(capsys, monkeypatch):
    def _breaks(ours, theirs):
        raise ValueError("wrong stream")

    monkeypatch.setattr(_self_check, "CHECKS", (_breaks,))
    assert _self_check.main() == 1
    assert "breaks                  FAILED: ValueError: wrong stream" in capsys.readouterr().out
