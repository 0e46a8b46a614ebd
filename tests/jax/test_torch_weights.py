"""Weights to and from PyTorch and safetensors: the same layers compute the same there and here."""

import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import pax_jax as pax
from pax_jax._storage import tensors

pytestmark = pytest.mark.usefixtures("quick_compilation")


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def tokens(*shape):
    return np.random.default_rng(0).integers(0, 7, shape).astype(np.int32)


def alike(here, there, x):
    return np.asarray(here(x)), there(torch.from_numpy(x)).detach().numpy()


def channels_last(here, there, x):
    """The input of PyTorch has its channels on the second axis, that of pax on the last."""
    y = there(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).detach().numpy()
    return np.asarray(here(x)), np.moveaxis(y, 1, -1)


def lstm(here, there, x):
    state = draw(5, 3, seed=1), draw(5, 3, seed=2)
    ours, _ = here(pax.LSTMState(*state), x)
    theirs = there(torch.from_numpy(x), tuple(map(torch.from_numpy, state)))
    return np.stack([ours.hidden, ours.cell]), torch.stack(theirs).detach().numpy()


def attention(here, there, x):
    given = torch.from_numpy(x)
    return np.asarray(here(x)), there(given, given, given)[0].detach().numpy()


ROWS, LINE, IMAGE, VOLUME = draw(5, 4), draw(2, 9, 4), draw(2, 6, 7, 4), draw(1, 5, 5, 5, 4)
CASES = {
    "linear": (lambda: pax.Linear(4, 3), lambda: nn.Linear(4, 3), ROWS, alike),
    "linear-no-bias": (
        lambda: pax.Linear(4, 3, with_bias=False),
        lambda: nn.Linear(4, 3, bias=False),
        ROWS,
        alike,
    ),
    "embed": (lambda: pax.Embed(7, 3), lambda: nn.Embedding(7, 3), tokens(2, 5), alike),
    "conv1d": (
        lambda: pax.Conv1D(4, 6, 3, 2, padding="VALID", feature_group_count=2),
        lambda: nn.Conv1d(4, 6, 3, 2, groups=2),
        LINE,
        channels_last,
    ),
    "conv2d": (
        lambda: pax.Conv2D(4, 6, (3, 2), rate=2, padding=1),
        lambda: nn.Conv2d(4, 6, (3, 2), dilation=2, padding=1),
        IMAGE,
        channels_last,
    ),
    "conv2d-nchw": (
        lambda: pax.Conv2D(6, 3, 3, data_format="NCHW", with_bias=False),
        lambda: nn.Conv2d(6, 3, 3, padding="same", bias=False),
        IMAGE,
        alike,
    ),
    "conv3d": (
        lambda: pax.Conv3D(4, 2, 3),
        lambda: nn.Conv3d(4, 2, 3, padding=1),
        VOLUME,
        channels_last,
    ),
    "conv1d-transpose": (
        lambda: pax.Conv1DTranspose(4, 6, 3, 2, padding="VALID"),
        lambda: nn.ConvTranspose1d(4, 6, 3, 2),
        LINE,
        channels_last,
    ),
    "conv2d-transpose": (
        lambda: pax.Conv2DTranspose(4, 6, (3, 4), 2, padding="VALID"),
        lambda: nn.ConvTranspose2d(4, 6, (3, 4), 2),
        IMAGE,
        channels_last,
    ),
    "batch-norm1d": (lambda: pax.BatchNorm1D(4), lambda: nn.BatchNorm1d(4), ROWS, alike),
    "batch-norm2d": (lambda: pax.BatchNorm2D(4), lambda: nn.BatchNorm2d(4), IMAGE, channels_last),
    "batch-norm-plain": (
        lambda: pax.BatchNorm2D(4, create_scale=False, create_offset=False),
        lambda: nn.BatchNorm2d(4, affine=False),
        IMAGE,
        channels_last,
    ),
    "layer-norm": (lambda: pax.LayerNorm(4), lambda: nn.LayerNorm(4), ROWS, alike),
    "rms-norm": (lambda: pax.RMSNorm(4), lambda: nn.RMSNorm(4, eps=1e-5), ROWS, alike),
    "group-norm": (lambda: pax.GroupNorm(2, 4), lambda: nn.GroupNorm(2, 4), IMAGE, channels_last),
    "lstm": (lambda: pax.LSTM(4, 3, forget_gate_bias=1.0), lambda: nn.LSTMCell(4, 3), ROWS, lstm),
    "attention": (
        lambda: pax.MultiHeadAttention(2, 4),
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        draw(2, 5, 8),
        attention,
    ),
    "sequential": (
        lambda: pax.Sequential(
            pax.Sequential(pax.Linear(4, 8), pax.BatchNorm1D(8)), jax.nn.relu, pax.Linear(8, 2)
        ),
        lambda: nn.Sequential(
            nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)), nn.ReLU(), nn.Linear(8, 2)
        ),
        ROWS,
        alike,
    ),
}


def disturbed(module):
    """Give every parameter and average another value, so that none is right by chance."""
    torch.manual_seed(1)
    with torch.no_grad():
        for value in [*module.parameters(), *module.buffers()]:
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.1)
    return module.eval()


@pytest.mark.parametrize("case", CASES)
def test_weights_of_torch_compute_the_same_here_and_return_unchanged(case):
    make, make_there, x, both = CASES[case]
    there = disturbed(make_there())
    here = pax.weights.load_torch(make().eval(), there.state_dict())
    ours, theirs = both(here, there, x)
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)
    back = pax.weights.to_torch(here)
    fresh = make_there().eval()
    fresh.load_state_dict(back)
    np.testing.assert_allclose(both(here, fresh, x)[1], theirs, rtol=1e-6, atol=1e-6)
    if case != "lstm":  # which has two biases there, one here
        for name, value in there.state_dict().items():
            assert torch.allclose(back[name].to(value.dtype), value, rtol=1e-6)


class Net(pax.Module):
    def __init__(self):
        super().__init__()
        self.stem = pax.Linear(4, 4)
        self.layers = [pax.Linear(4, 4), pax.GRU(4, 4)]
        self.dropout = pax.Dropout(0.5)
        self.register_parameter("scale", jnp.ones((), jnp.bfloat16))
        self.register_state_subtree("table", {"ids": np.arange(3), "rate": 0.5})


def test_names_are_paths_and_can_be_changed():
    net = Net()
    prefixed = lambda name: "net." + name.replace("layers.", "blocks_")  # noqa: E731
    tensors = pax.weights.to_torch(net, prefixed)
    assert list(tensors)[:4] == [
        "net.stem.weight",
        "net.stem.bias",
        "net.blocks_0.weight",
        "net.blocks_0.bias",
    ]
    assert "net.scale" in tensors
    assert not any("rng_key" in name for name in tensors)
    other = Net()
    loaded = pax.weights.load_torch(other, tensors, prefixed)
    assert bool((loaded.stem.weight == net.stem.weight).all())
    assert bool((loaded.layers[1].xh_h_fc.weight == net.layers[1].xh_h_fc.weight).all())
    assert loaded.dropout == other.dropout


def test_a_state_dict_that_does_not_fit_names_every_difference():
    net = pax.Sequential(pax.Linear(4, 3), pax.BatchNorm1D(3), pax.MultiHeadAttention(1, 3))
    state = dict(pax.weights.to_torch(net))
    state["0.weight"] = torch.zeros(3, 5)
    state["0.bias"] = torch.zeros(3, dtype=torch.float16)
    del state["1.running_mean"], state["1.num_batches_tracked"], state["2.in_proj_weight"]
    state["extra"] = torch.zeros(1)
    with pytest.raises(ValueError, match="The state dict does not fit Sequential") as caught:
        pax.weights.load_torch(net, state)
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        "1.running_mean is missing",
        "2.in_proj_weight is missing",
        "extra is unknown",
        "0.weight is float32[3,5], expected float32[3,4]",
        "0.bias is float16[3], expected float32[3]",
    ]


def test_a_module_of_from_torch_has_the_names_it_came_with():
    there = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(2, 2))
    there[2].bias.requires_grad_(False)
    here = pax.from_torch(there)
    back = pax.weights.to_torch(here)
    assert set(back) == set(there.state_dict())
    other = disturbed(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(2, 2)))
    loaded = pax.weights.load_torch(
        here, {k: v.to(back[k].dtype) for k, v in other.state_dict().items()}
    )
    np.testing.assert_array_equal(loaded.params["0.weight"], other[0].weight.detach())
    np.testing.assert_array_equal(loaded.frozen["2.bias"], other[2].bias.detach())
    np.testing.assert_array_equal(loaded.state["1.running_mean"], other[1].running_mean)


def test_safetensors_come_back_exactly(tmp_path):
    net, path = Net(), tmp_path / "net.safetensors"
    pax.weights.save_safetensors(net, path)
    loaded = pax.weights.load_safetensors(Net(), path)
    for ours, theirs in zip(jax.tree.leaves(loaded), jax.tree.leaves(net), strict=True):
        assert ours.dtype == theirs.dtype if hasattr(ours, "dtype") else ours == theirs
        assert np.all(ours == theirs)
    there = safetensors.torch.load_file(path)  # any other program reads the same numbers
    assert there["scale"].dtype == torch.bfloat16
    np.testing.assert_array_equal(there["stem.weight"], net.stem.weight)


def test_safetensors_of_torch_load_without_torch(tmp_path):
    there = disturbed(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    safetensors.torch.save_file(there.state_dict(), tmp_path / "there.safetensors")
    arrays = safetensors.numpy.load_file(tmp_path / "there.safetensors")
    here = pax.weights.load_torch(
        pax.Sequential(pax.Linear(4, 3), pax.BatchNorm1D(3)).eval(), arrays
    )
    np.testing.assert_allclose(*alike(here, there, ROWS), rtol=1e-5, atol=1e-5)


def test_a_safetensors_file_that_does_not_fit_or_cannot_be_written(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    pax.weights.save_safetensors(pax.Linear(2, 3), path)
    with pytest.raises(ValueError, match=r"weight is float32\[2,3\], expected float32\[2,4\]"):
        pax.weights.load_safetensors(pax.Linear(2, 4), path)
    before = path.read_bytes()
    monkeypatch.setattr(tensors, "storable", lambda array: False)
    with pytest.raises(
        ValueError, match=r"weight cannot be written to .*: it is an array of float"
    ):
        pax.weights.save_safetensors(pax.Linear(2, 3), path)
    assert os.listdir(tmp_path) == ["net.safetensors"]
    assert path.read_bytes() == before


def test_weights_missing_libraries(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch2jax_bridge", None)
    with pytest.raises(ImportError, match=r"to_torch needs torch2jax_bridge.*pax-jax\[torch\]"):
        pax.weights.to_torch(pax.Linear(2, 3))
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"needs safetensors\.numpy.*pax-jax\[safetensors\]"):
        pax.weights.save_safetensors(pax.Linear(2, 3), tmp_path / "x")


def test_a_stack_has_the_names_of_a_list_of_layers():
    looped = pax.nets.Transformer(8, 2, 2, rng_key=jax.random.key(0))
    fresh = pax.nets.Transformer(8, 2, 2, rng_key=jax.random.key(1), scan=True)
    tensors = pax.weights.to_torch(looped)
    assert pax.weights.to_torch(looped.with_scan()).keys() == tensors.keys()
    loaded = pax.weights.load_torch(fresh, tensors).with_scan(False)
    for name, array in looped.state_dict().items():
        if "rng_key" not in name:
            assert (loaded.state_dict()[name] == array).all(), name
