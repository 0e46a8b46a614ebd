"""Tools of JAX: the check for NaNs, the persistent compilation cache, stored executables."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
import torch
from jax.experimental import serialize_executable

from torch2jax_bridge import torch2jax

log = torch2jax(torch.log)
PROGRAMS = {
    "eager": log,
    "jit": jax.jit(log),
    "grad": jax.grad(lambda x: log(x).sum()),
    "value_and_grad": jax.jit(jax.value_and_grad(lambda x: log(x).sum())),
    "jvp": lambda x: jax.jvp(log, (x,), (x,)),
    "vmap": jax.vmap(log),
    "scan": lambda x: jax.lax.scan(lambda c, _: (log(c), None), x, length=2)[0],
    "module": lambda x: torch2jax(torch.nn.LogSigmoid())[0]({}, x * float("inf"))[0] * 0,
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_bridge_debug_nans_finds_them(program):
    with jax.debug_nans(True):
        with pytest.raises(FloatingPointError, match="nan"):
            program(-jnp.ones(3))
        assert not jnp.isnan(log(jnp.ones(3))).any()


def test_bridge_debug_infs_finds_them():
    with jax.debug_infs(True), pytest.raises(FloatingPointError, match="inf"):
        log(jnp.zeros(3))


START = """
import jax, jax.numpy as jnp, torch
from torch2jax_bridge import torch2jax
x = jnp.arange(1.0, 4.0)
"""
CHILD = """
f = torch2jax({function})
print(jax.jit(lambda x: f(x) * 2)(x).tolist(), jax.jit(jax.grad(lambda x: f(x).sum()))(x).tolist())
print(jax.jit(lambda x: x * 3 + 1)(x).tolist())
"""


def test_bridge_persistent_cache_gets_no_programs_with_pytorch(tmp_path):
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    seen = []
    for function in ("torch.square", "torch.square", "torch.neg"):
        out = _run(START + CHILD.format(function=function), environment)
        seen.append((out, {path.name for path in tmp_path.iterdir()}))
    assert [out.splitlines()[0] for out, _ in seen] == [
        *["[2.0, 8.0, 18.0] [2.0, 4.0, 6.0]"] * 2,
        "[-2.0, -4.0, -6.0] [-1.0, -1.0, -1.0]",
    ]
    entries = [names for _, names in seen]
    assert entries[0]  # those of programs without PyTorch
    # From JAX 0.12 on, programs with callbacks are written, and so are ours; none of them is read again.
    _run(f"{START}jax.jit(lambda x: jax.pure_callback(lambda x: x, x, x))(x).tolist()", environment)
    writes_callbacks = {path.name for path in tmp_path.iterdir()} > entries[2]
    assert (entries[0] == entries[1] == entries[2]) != writes_callbacks


def _run(program, environment):
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bridge_stored_executable_is_refused():
    compiled = jax.jit(log).lower(jnp.ones(3)).compile()
    with pytest.raises(
        NotImplementedError, match="calls the PyTorch function log cannot be stored"
    ):
        serialize_executable.serialize(compiled)
