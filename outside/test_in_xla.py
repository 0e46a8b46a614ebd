"""Public models as programs of XLA: losses and gradients are those of PyTorch."""

import jax
import numpy as np
import pytest

from outside.in_jax import converted, reference
from outside.models import MODELS

# torchdiffeq reads the values of its times.
LOWERED = [model for model in MODELS if model.name != "ode"]
LITTLE_TIME = {"xla_backend_optimization_level": 0}


@pytest.mark.parametrize("model", LOWERED, ids=[model.name for model in LOWERED])
def test_lowered_loss_and_gradients_are_those_of_pytorch(model):
    net = converted(model, backend="xla")
    value_and_grad = jax.jit(
        jax.value_and_grad(net.loss, has_aux=True), compiler_options=LITTLE_TIME
    )
    (loss, _), grads = value_and_grad(net.trained, net.buffers, net.batch)
    expected_loss, expected_grads = reference(model)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5, atol=1e-5)
    for name, expected in expected_grads.items():
        np.testing.assert_allclose(grads[name], expected, rtol=1e-3, atol=1e-5, err_msg=name)
