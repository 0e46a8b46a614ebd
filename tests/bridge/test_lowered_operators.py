"""Rules of operators against PyTorch's own samples; `python -m tests.bridge.operators` runs all."""

import warnings

import jax
import pytest
import torch

from tests.bridge.operators import name_of, operators, try_operator

# Whose rules depend on the dtype.
BY_DTYPE = (
    *("add", "mul", "div.floor_rounding", "div.trunc_rounding", "floor_divide", "remainder"),
    *("pow", "clamp", "sum", "cumsum", "argmax", "sort", "bitwise_left_shift"),
    *("index_add", "softmax", "nn.functional.relu", "nn.functional.interpolate.bilinear"),
)
DTYPES = ("bool", "uint8", "int32", "int64", "float16", "bfloat16", "float64", "complex128")
CASES = [
    pytest.param(operator, getattr(torch, dtype), id=f"{name_of(operator)}-{dtype}")
    for operator in operators()
    if name_of(operator) in BY_DTYPE
    for dtype in DTYPES
    if getattr(torch, dtype) in operator.supported_dtypes("cpu")
]


@pytest.mark.parametrize(("operator", "dtype"), CASES)
def test_samples_of_other_dtypes_equal_pytorch(operator, dtype):
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = try_operator(operator, dtype, 1)
    assert outcome.wrong == []


@pytest.mark.parametrize("operator", operators(), ids=name_of)
def test_samples_equal_pytorch(operator):
    dtypes = operator.supported_dtypes("cpu")
    dtype = next(d for d in (torch.float32, torch.int64, *sorted(dtypes, key=str)) if d in dtypes)
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = try_operator(operator, dtype, 2)
    assert outcome.wrong == []
