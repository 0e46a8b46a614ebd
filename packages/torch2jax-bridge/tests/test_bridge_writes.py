"""An array of JAX's never changes under its owner, however a function writes into its arguments."""

import copy
import ctypes

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from torch2jax_bridge import ShapeInferenceError, torch2jax

VALUES = np.arange(3, dtype=np.float32)
Failure = jax.errors.JaxRuntimeError


@torch.library.custom_op("test_writes::lies", mutates_args=())
def lies(x: torch.Tensor) -> torch.Tensor:
    x.fill_(3)
    return x.clone()


@lies.register_fake
def _(x):
    return torch.empty_like(x)


def by_set(x):
    torch.empty(0).set_(x.untyped_storage(), 0, (3,), (1,)).fill_(5)


def by_optimizer(x):
    parameter = torch.nn.Parameter(x)
    parameter.grad = torch.ones(3)
    torch.optim.Adam([parameter], fused=True).step()


def without_a_version(x):
    with torch.autograd._unsafe_preserve_version_counter(x):
        x.fill_(3)


SEEN_BY_OPERATIONS = {
    "data": lambda x: x.data.mul_(2),
    "as_strided": lambda x: x.as_strided((2,), (1,)).fill_(3),
    "storage": lambda x: x.untyped_storage().fill_(0),
    "set_": by_set,
    "resize_": lambda x: x.resize_(1),
    "foreach": lambda x: torch._foreach_mul_([x], [2.0]),
    "out": lambda x: torch.sin(torch.ones(2), out=x[:2]),
    "mask": lambda x: x.__setitem__(x > 1, 0),
    "dtype": lambda x: x.view(torch.int32).fill_(0),
    "average": lambda x: torch.nn.functional.batch_norm(
        torch.arange(12.0).reshape(4, 3), x, torch.ones(3), training=True
    ),
    "optimizer": by_optimizer,
    "version": without_a_version,
}
AROUND_PYTORCH = {
    "numpy": lambda x: x.numpy().__setitem__(0, 9),
    "dlpack": lambda x: torch.from_dlpack(x).fill_(4),
    "capsule": lambda x: torch.from_dlpack(torch.utils.dlpack.to_dlpack(x)).fill_(4),
    "address": lambda x: ctypes.memset(x.data_ptr(), 1, 4),
}
UNSEEN = {"lies": lies, "copy": lambda x: copy.copy(x).fill_(4)}
ALL = SEEN_BY_OPERATIONS | AROUND_PYTORCH | UNSEEN


def then_reads(write):
    def function(x):
        write(x)
        return torch.ones(3)

    return function


@pytest.mark.parametrize("write", SEEN_BY_OPERATIONS.values(), ids=SEEN_BY_OPERATIONS)
def test_bridge_inference_sees_writes(write):
    x = jnp.array(VALUES)
    with pytest.raises(TypeError, match="changes its array argument number 0"):
        torch2jax(then_reads(write))(x)
    np.testing.assert_array_equal(x, VALUES)


@pytest.mark.parametrize("write", AROUND_PYTORCH.values(), ids=AROUND_PYTORCH)
def test_bridge_inference_hands_no_address_out(write):
    x = jnp.array(VALUES)
    with pytest.raises(ShapeInferenceError, match="could not be inferred"):
        torch2jax(then_reads(write))(x)
    np.testing.assert_array_equal(x, VALUES)


@pytest.mark.parametrize("write", ALL.values(), ids=ALL)
def test_bridge_a_run_of_examples_sees_all_writes(write):
    x = jnp.array(VALUES)
    with pytest.raises(TypeError, match="changes its array argument number 0"):
        torch2jax(then_reads(write), infer="run")(x)
    np.testing.assert_array_equal(x, VALUES)


@pytest.mark.parametrize("write", ALL.values(), ids=ALL)
def test_bridge_debug_puts_back_what_was_written(write):
    x = jnp.array(VALUES)
    with pytest.raises(Failure, match=r"changed its array argument number 0 \(args\[0\]\)|resize"):
        torch2jax(then_reads(write), output_shapes=x, debug=True)(x).block_until_ready()
    np.testing.assert_array_equal(x, VALUES)


def test_bridge_debug_lets_an_argument_have_other_memory():
    def function(x):
        x.data = torch.zeros(3)
        x.data.add_(1)
        return x * 1

    x = jnp.array(VALUES)
    np.testing.assert_array_equal(torch2jax(function, debug=True)(x), np.ones(3))
    np.testing.assert_array_equal(x, VALUES)


def test_bridge_memory_that_other_processes_see_cannot_be_put_back():
    def function(x):
        return x.share_memory_() * 2

    with pytest.raises(ShapeInferenceError, match="shared memory"):
        torch2jax(lambda x: function(x.clone()).fill_(1), infer="run")(jnp.array(VALUES))
    counter = torch.zeros(1).share_memory_()
    with pytest.raises(ShapeInferenceError, match="shared memory"):
        torch2jax(lambda x: x + counter.add_(1), infer="run")(jnp.array(VALUES))
    assert counter.item() == 0
