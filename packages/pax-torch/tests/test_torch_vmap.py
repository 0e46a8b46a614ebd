"""vmap beside torch.func.vmap: axes, randomness, chunks, nesting and what an error leaves behind."""
# ruff: noqa: E731

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pax_torch as pax

X = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
F = lambda x: torch.logsumexp(x.sin() * x, 0).exp()


def same(tree, other):
    torch.testing.assert_close(tree, other)


def joined(x, y):
    """Results that depend on both arguments, on one of them, and on none."""
    return x.sum() * y, x.cumsum(0) if x.ndim else x, torch.ones(2)


@st.composite
def mapped_tensors(draw):
    """Two tensors, the axis of each that is mapped (None for at most one), and that of results."""
    size, tensors, axes = draw(st.integers(1, 4)), [], []
    mapped = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    for on in mapped:
        shape = draw(st.lists(st.integers(0, 3), max_size=2))
        axis = draw(st.integers(-len(shape) - 1, len(shape))) if on else None
        if axis is not None:
            shape.insert(axis % (len(shape) + 1), size)
        tensors.append(torch.arange(float(np.prod(shape, dtype=int))).reshape(shape) / 3)
        axes.append(axis)
    return tensors, tuple(axes), draw(st.sampled_from([0, -1]))


@given(mapped_tensors(), st.sampled_from([None, 1, 3]))
def test_axes_are_those_of_torch(case, chunk_size):
    tensors, in_axes, out_axes = case
    # With other axes torch fails at what depends on no argument.
    expected = tuple(x.movedim(0, out_axes) for x in torch.func.vmap(joined, in_axes)(*tensors))
    same(pax.vmap(joined, in_axes, out_axes, chunk_size=chunk_size)(*tensors), expected)


def test_maps_nest_in_those_of_torch_and_the_other_way_round():
    x = torch.arange(24.0).reshape(2, 3, 4)
    f = lambda row, y: row * y + row.sum()
    outer = lambda vmap, inner: vmap(lambda m: inner(lambda r: f(r, m[0]))(m))(x)
    expected = outer(torch.func.vmap, torch.func.vmap)
    for pair in ((pax.vmap, pax.vmap), (pax.vmap, torch.func.vmap), (torch.func.vmap, pax.vmap)):
        same(outer(*pair), expected)


def test_an_error_inside_ends_the_map():
    def fails(x):
        raise KeyError("inside")

    for broken in (fails, torch.Tensor.item, lambda x: "text"):
        with pytest.raises((KeyError, RuntimeError, TypeError)):
            pax.vmap(pax.vmap(broken))(X)
        assert not torch._C._are_functorch_transforms_active()
    same(pax.vmap(pax.vmap(torch.neg))(X), -X)


def test_the_first_map_of_a_process_knows_all_operations():
    """PyTorch loads its rules for operations such as this one's derivative with the first map."""
    program = (
        "import torch, pax_torch\n"
        "f = lambda x: torch.nn.functional.huber_loss(x, torch.zeros(3))\n"
        "print(pax_torch.vmap(pax_torch.grad(f))(torch.full((2, 3), 0.75)).tolist())"
    )
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == "[[0.25, 0.25, 0.25], [0.25, 0.25, 0.25]]", found.stderr


def test_vmap_passes_on_what_is_not_mapped():
    marker = object()
    f = lambda x, given: (x * 2, given)
    doubled, given = pax.vmap(f, (0, None), (0, None))(X, marker)
    same(doubled, 2 * X)
    assert given is marker


def test_vmap_takes_arrays_and_gives_numbers_an_axis():
    found = pax.vmap(lambda x: (x, 1.5))(np.arange(3.0))
    same(found, (torch.arange(3.0, dtype=torch.float64), torch.full((3,), 1.5)))


def test_randomness():
    f = lambda x: x + torch.rand(())
    with pytest.raises(RuntimeError, match="randomness"):
        pax.vmap(f)(torch.zeros(8))
    assert len(set(pax.vmap(f, randomness="same")(torch.zeros(8)).tolist())) == 1
    assert len(set(pax.vmap(f, randomness="different")(torch.zeros(8)).tolist())) == 8


def test_chunks_give_the_same():
    same(pax.vmap(F, 1, chunk_size=2)(X), pax.vmap(F, 1)(X))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_chunks_of_nothing(shape):
    x = torch.zeros(shape)
    same(pax.vmap(torch.exp, chunk_size=2)(x), x.exp())


@pytest.mark.parametrize("name", ["axis_size", "chunk_size"])
def test_sizes(name):
    for wrong in ("a", 1.5, True, [2]):
        with pytest.raises(TypeError, match=f"{name} must be an integer or None, got"):
            pax.vmap(torch.exp, **{name: wrong})
    with pytest.raises(ValueError, match=f"{name} must be at least [01], got -1"):
        pax.vmap(torch.exp, **{name: -1})
    same(pax.vmap(torch.exp, **{name: np.int64(2)})(X), X.exp())
