"""Trees of tensors, and averages of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pax_torch as pax

TREE = {
    "half": torch.ones(2, dtype=torch.float16),
    "list": [torch.tensor(2.0), None, 3, "text"],
    "step": torch.tensor(4),
}


def assert_same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_clone():
    copy = pax.tree_clone(TREE)
    assert pax.tree_structure(copy) == pax.tree_structure(TREE)
    for x, y in zip(pax.tree_leaves(copy), pax.tree_leaves(TREE), strict=True):
        if isinstance(x, torch.Tensor):
            assert_same(x, y)
            assert x.data_ptr() != y.data_ptr()
        else:
            assert x is y


def test_gradient_of_a_clone():
    assert pax.grad(lambda x: pax.tree_clone({"x": x})["x"] ** 2)(3.0) == 6.0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_cast(dtype):
    cast = pax.tree_cast(TREE, dtype)
    assert (cast["half"].dtype, cast["list"][0].dtype) == (dtype, dtype)
    assert (cast["step"], cast["list"][1:]) == (TREE["step"], TREE["list"][1:])
    assert pax.tree_cast(cast, dtype)["half"] is cast["half"]


@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64, "float32", None], ids=repr)
def test_cast_to_something_else(dtype):
    with pytest.raises(TypeError, match=r"tree_cast expected a floating-point torch\.dtype"):
        pax.tree_cast(TREE, dtype)


def test_to():
    moved = pax.tree_to(TREE, "meta")
    tensors = [x for x in pax.tree_leaves(moved) if isinstance(x, torch.Tensor)]
    assert [x.device.type for x in tensors] == ["meta"] * 3
    assert moved["list"][2:] == [3, "text"]
    assert pax.tree_to(TREE, "cpu")["half"] is TREE["half"]


def test_arithmetic_of_pax_tree_on_tensors():
    a = {"w": torch.tensor([1.0, 2.0]), "b": [torch.tensor(3.0)]}
    assert_same(pax.tree_add(a, a, alpha=2), pax.tree_map(lambda x: 3 * x, a))
    assert_same(pax.tree_subtract(a, a), pax.tree_zeros_like(a))
    assert_same(pax.tree_neg(a), pax.tree_map(torch.neg, a))
    assert pax.tree_dot(a, a) == pax.tree_norm_sq(a) == 14
    assert (pax.tree_numel(a), pax.tree_sum(a)) == (3, 6)
    torch.testing.assert_close(pax.tree_norm(a), torch.tensor(14.0).sqrt())
    vector, unravel = pax.tree_ravel(a)
    assert_same(unravel(vector), a)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20))
def test_running_average_is_the_mean(values):
    average = {"x": torch.zeros((), dtype=torch.float64)}
    for step, value in enumerate(values):
        tree = {"x": torch.tensor(value, dtype=torch.float64)}
        average = pax.running_avg_step(average, tree, step)
    assert average["x"].item() == pytest.approx(sum(values) / len(values), abs=1e-9)


@pytest.mark.parametrize("as_step", [int, torch.tensor], ids=["number", "tensor"])
@pytest.mark.parametrize("before", [1e10, float("inf"), float("nan")])
def test_first_value_is_the_mean(before, as_step):
    value = torch.tensor([1.0, -2.0])
    mean = pax.running_avg_step(torch.full((2,), before), value, as_step(0))
    assert_same(mean, value)


@pytest.mark.parametrize("as_step", [int, torch.tensor], ids=["number", "tensor"])
def test_first_mean_has_memory_and_type_of_its_own(as_step):
    value = torch.ones(3)
    mean = pax.running_avg_step(torch.zeros(2, 3, dtype=torch.float64), value, as_step(0))
    value += 1
    assert_same(mean, torch.ones(2, 3, dtype=torch.float64))
    array = np.ones(2, dtype=np.uint8)
    mean = pax.running_avg_step(np.zeros(2), array, 0)
    array += 1
    assert mean.tolist() == [1.0, 1.0]
    assert mean.dtype == np.float64


@pytest.mark.parametrize("as_step", [int, torch.tensor], ids=["number", "tensor"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool], ids=str)
def test_mean_of_integers(dtype, as_step):
    values = torch.tensor([[7, 1], [3, 0], [2, 0]]).to(dtype)
    average = torch.zeros(2, dtype=dtype)
    for step, value in enumerate(values):
        average = pax.running_avg_step(average, value, as_step(step))
    torch.testing.assert_close(average, values.float().mean(0))
    five, three = torch.tensor([[5], [3]], dtype=torch.uint8)
    assert_same(pax.running_avg_step(five, three, 1), torch.tensor([4.0]))


@pytest.mark.parametrize("shape", [(), (2,)], ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_averages_have_single_precision_at_least(dtype, shape):
    value = torch.full(shape, 3.0, dtype=dtype)
    state = pax.ema_init(value)
    for _ in range(3):
        state = pax.ema_step(state, value, torch.tensor(0.5))
    read, raw = pax.ema_read(state), pax.ema_read(state, bias_correction=False)
    mean = pax.running_avg_step(value, value, torch.tensor(3.0))
    assert {x.dtype for x in (read, raw, mean)} == {torch.promote_types(dtype, torch.float32)}
    torch.testing.assert_close(read.to(dtype), value)


def test_exponential_average_in_double_precision():
    state = pax.ema_init(torch.zeros((), dtype=torch.float64))
    for _ in range(50):
        state = pax.ema_step(state, torch.tensor(4.0, dtype=torch.float64), 0.99)
    torch.testing.assert_close(pax.ema_read(state).item(), 4.0, rtol=1e-13, atol=0)


def test_averages_on_two_devices():
    tree = {"b": torch.ones(3, device="meta"), "c": torch.ones(2)}
    state = pax.ema_step(pax.ema_init(tree), tree, 0.5)
    assert pax.ema_read(state)["b"].device.type == "meta"
    assert_same(pax.ema_read(state)["c"], tree["c"])


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.01, 0.99)), min_size=1, max_size=20))
def test_exponential_average_is_a_weighted_mean(steps):
    """With decays that differ, the corrected average weighs by what is left of each value."""
    state = pax.ema_init([torch.zeros(2, dtype=torch.float64)])
    weights = []
    for value, decay in steps:
        state = pax.ema_step(state, [torch.full((2,), value, dtype=torch.float64)], decay)
        weights = [weight * decay for weight in weights] + [1 - decay]
    expected = sum(w * v for w, (v, _) in zip(weights, steps, strict=True))
    raw = pax.ema_read(state, bias_correction=False)[0][0].item()
    assert raw == pytest.approx(expected, rel=1e-9, abs=1e-9)
    corrected = pax.ema_read(state)[0][0].item()
    assert corrected == pytest.approx(expected / sum(weights), rel=1e-4, abs=1e-4)


def test_averages_torchs_averaged_model():
    """The same as torch's own average where that begins, with the first value."""
    net = torch.nn.Linear(2, 2)
    decay = 0.9
    reference = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
    )
    reference.update_parameters(net)
    state = {"average": pax.get_params(net), "weight": torch.tensor(1.0)}
    for _ in range(5):
        with torch.no_grad():
            net.weight += 1
        reference.update_parameters(net)
        state = pax.ema_step(state, pax.get_params(net), decay)
    torch.testing.assert_close(pax.ema_read(state), pax.get_params(reference.module))


def test_counters_are_kept_and_not_averaged():
    net = torch.nn.BatchNorm1d(2)
    state = pax.ema_init(pax.get_buffers(net))
    net(torch.randn(4, 2))
    state = pax.ema_step(state, pax.get_buffers(net), 0.5)
    assert pax.ema_read(state)["num_batches_tracked"] == 1
    torch.testing.assert_close(pax.ema_read(state), pax.get_buffers(net))


def test_nothing_to_read_yet():
    assert_same(pax.ema_read(pax.ema_init(torch.ones(2))), torch.zeros(2))


def test_state_is_not_changed_and_may_be_traced():
    params = {"w": torch.arange(6.0).reshape(3, 2)}
    state = pax.vmap(pax.ema_init)(params)
    before = pax.tree_clone(state)
    step = lambda state, value: pax.ema_step(state, value, 0.5)  # noqa: E731
    new = pax.vmap(step)(state, params)
    assert_same(state, before)
    assert_same(pax.vmap(pax.ema_read)(new), params)
    assert_same(pax.jit(step, backend="eager")(state, params)["average"], new["average"])


def test_structures_differ():
    with pytest.raises(ValueError, match="'b'"):
        pax.ema_step(pax.ema_init({"a": torch.ones(1)}), {"b": torch.ones(1)}, 0.5)
