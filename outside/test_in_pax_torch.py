import functools

import pytest
import torch

import pax_torch
from outside.models import MODELS
from outside.training import functional, plain

every_model = pytest.mark.parametrize("model", MODELS, ids=[model.name for model in MODELS])
# torchdiffeq reads the values of its times.
TRACEABLE = [model for model in MODELS if model.name != "ode"]


@every_model
def test_training_is_that_of_pytorch_to_the_bit(model):
    expected, found = plain(model), functional(model)
    assert [loss.item() for loss in found.losses] == [loss.item() for loss in expected.losses]
    assert found.state.keys() == expected.state.keys()
    for name, tensor in expected.state.items():
        assert torch.equal(found.state[name], tensor), name


@pytest.mark.whole
@pytest.mark.parametrize("model", TRACEABLE, ids=[model.name for model in TRACEABLE])
def test_training_in_jit_is_that_of_pytorch(model):
    expected = plain(model)
    found = functional(model, functools.partial(pax_torch.jit, backend="eager"))
    torch.testing.assert_close(found.losses, expected.losses, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.state, expected.state, rtol=1e-4, atol=1e-5)


def test_a_model_that_reads_values_is_refused_by_jit_in_a_sentence():
    ode = next(model for model in MODELS if model.name == "ode")
    with pytest.raises(TypeError, match="tensors without values"):
        functional(ode, functools.partial(pax_torch.jit, backend="eager"))
