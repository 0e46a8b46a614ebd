"""What JAX does with its own programs, done with lowered functions."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from torch2jax_bridge import torch2jax

lowered = partial(torch2jax, backend="xla", strict=True)
X = np.linspace(-2, 2, 15, dtype=np.float32).reshape(5, 3)


def test_steps_are_divided_between_devices_and_kept_for_the_next_process(tmp_path):
    program = Path(__file__).with_name("lowered_over_devices.py")
    command = [sys.executable, str(program), str(tmp_path)]
    first, second = (
        int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(2)
    )
    assert second >= first + 2  # the steps on one device and over four


def _residuals(policy):
    net = nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 7), nn.Tanh(), nn.Linear(7, 1))
    apply, params, _ = lowered(net)
    loss = jax.checkpoint(lambda params: apply(params, X)[0].sum(), policy=policy)
    pull = jax.vjp(loss, params)[1]
    return sum(x.size for x in jax.tree.leaves(pull) if x.shape == (5, 7)) // 35, pull(1.0), params


def test_checkpoint_policies_decide_what_is_kept():
    policies = jax.checkpoint_policies
    found = {}
    for name in ("everything_saveable", "dots_saveable", "nothing_saveable"):
        torch.manual_seed(0)
        found[name] = _residuals(getattr(policies, name))
    kept = {name: count for name, (count, _, _) in found.items()}
    assert kept["nothing_saveable"] == 0
    assert 0 < kept["dots_saveable"] <= kept["everything_saveable"]
    (_, (first,), _), *others = found.values()
    for _, (grads,), _ in others:
        for name, value in first.items():
            np.testing.assert_allclose(grads[name], value, rtol=1e-5, atol=1e-6)


def test_a_matrix_is_not_repeated_for_each_of_many():
    net = nn.Linear(3, 4)
    x = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    f = lowered(lambda x, w, b: nn.functional.linear(x.transpose(0, 1), w, b).transpose(0, 1))
    weight, bias = (p.detach().numpy() for p in net.parameters())
    expected = net(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(f(x, weight, bias), expected, rtol=1e-5)
    assert "tensor<4x3x4xf32>" not in jax.jit(f).lower(x, weight, bias).as_text()
    grads = jax.grad(lambda *args: jnp.sum(jnp.sin(f(*args))), (0, 1))(x, weight, bias)
    given = [torch.from_numpy(a).requires_grad_() for a in (x, weight)]
    nn.functional.linear(*given, torch.from_numpy(bias)).sin().sum().backward()
    for found, tensor in zip(grads, given, strict=True):
        np.testing.assert_allclose(found, tensor.grad, rtol=1e-4, atol=1e-4)


def test_debug_nans_finds_the_operator():
    f = lowered(lambda x: (x - 3).log())
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match="nan"):
        f(X)


def test_donated_buffers_of_a_step_are_used_again():
    net = nn.Linear(3, 3)
    apply, params, _ = lowered(net)

    @partial(jax.jit, donate_argnums=0)
    def step(params):
        grads = jax.grad(lambda params: apply(params, X)[0].sum())(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

    placed = jax.tree.map(jnp.copy, params)
    pointers = {name: value.unsafe_buffer_pointer() for name, value in placed.items()}
    after = step(placed)
    assert all(value.is_deleted() for value in placed.values())
    assert after["weight"].unsafe_buffer_pointer() == pointers["weight"]
