"""What PyTorch's C++ is asked in a call says what Python's functions say, where they are asked instead."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import torch2jax_bridge._C as _C
from torch2jax_bridge import torch2jax
from torch2jax_bridge._runtime._compat import native_import, native_tensors


@pytest.fixture(params=["native", "python"], autouse=True)
def asked(request):
    """Ask PyTorch's C++, or Python as where its functions are not known."""
    tensors, make = native_tensors(), native_import()
    assert all(tensors)
    assert all(make)
    native = request.param == "native"
    _C.use_native_tensors(*(tensors if native else (0, 0, 0, 0)))
    _C.use_native_import(*(make if native else (0, 0)))
    yield
    _C.use_native_tensors(*tensors)
    _C.use_native_import(*make)


def call(function, x):
    return jax.block_until_ready(torch2jax(function, output_shapes=x)(x))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (torch.conj, np.conj),
        (lambda x: torch.conj(x).imag + 0j, lambda x: -x.imag + 0j),
        (lambda x: x.T.conj(), lambda x: np.conj(x.T)),
    ],
    ids=["conjugated", "negated", "strided"],
)
def test_bridge_lazy_results_are_written_as_they_are_meant(function, expected):
    x = np.array([[1 + 2j, 3 - 1j], [0.5j, -2]], np.complex64)
    np.testing.assert_array_equal(call(function, jnp.asarray(x)), expected(x))


def test_bridge_negated_result_is_negated():
    x = jnp.array([1 + 2j, 3 - 1j], jnp.complex64)
    wrapped = torch2jax(lambda x: x.conj().imag, output_shapes=jnp.zeros(2))
    np.testing.assert_array_equal(wrapped(x), [-2, 1])


def test_bridge_write_into_an_argument_is_seen():
    with pytest.raises(jax.errors.JaxRuntimeError, match="array argument number 0"):
        call(lambda x: x.add_(1), jnp.ones(3))


def test_bridge_result_without_memory_is_named():
    with pytest.raises(jax.errors.JaxRuntimeError, match="Result 0 is"):
        call(lambda x: x.to_sparse(), jnp.ones(3))
