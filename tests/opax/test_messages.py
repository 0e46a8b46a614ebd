"""Messages that say what to do about usual mistakes, with PyTorch's tensors among them."""

import pytest
import torch

import opax
import pax_jax


def test_an_unknown_hyperparameter_is_named_with_those_that_there_are():
    with pytest.raises(
        TypeError, match="adam: got the unknown argument 'lr'; its arguments are le"
    ):
        opax.adam(lr=1e-2)
    with pytest.raises(TypeError, match="adam: missing a required argument: 'learning_rate'; its"):
        opax.adam()


def test_tensors_of_pytorch_are_no_parameters():
    with pytest.raises(TypeError, match=r"got a Tensor float32\[3\]; .* functional_optimizer"):
        opax.adam(1e-2)({"w": torch.ones(3)})


def test_layers_take_no_tensors_of_pytorch():
    with pytest.raises(TypeError, match="expects an array of JAX or NumPy, got a Tensor; convert"):
        pax_jax.Linear(2, 4)(torch.ones(8, 2))
