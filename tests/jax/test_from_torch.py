"""Networks of PyTorch as pax_jax modules: outputs, buffers and gradients are those of PyTorch."""

import copy
import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch import nn

import pax_jax as pax

pytestmark = pytest.mark.usefixtures("quick_compilation")


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def tokens(*shape):
    return np.random.default_rng(0).integers(0, 7, shape).astype(np.int32)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.lstm = nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, 7)
        self.head.bias.requires_grad_(False)

    def forward(self, x):
        return self.head(self.lstm(self.embed(x))[0])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x):
        return {"logits": self.head(self.embed(x))}


ROWS, LINE, IMAGE = draw(5, 4), draw(2, 4, 9), draw(2, 3, 6, 6)
CASES = {
    "linear": (lambda: nn.Linear(4, 3), ROWS),
    "bilinear-layers": (lambda: nn.Sequential(nn.Linear(4, 4), nn.GLU(), nn.PReLU()), ROWS),
    "conv1d": (lambda: nn.Conv1d(4, 3, 3, 2), LINE),
    "conv2d": (lambda: nn.Conv2d(3, 6, 3, groups=3, padding="same"), IMAGE),
    "conv-transpose": (lambda: nn.ConvTranspose2d(3, 4, 3, 2), IMAGE),
    "batch-norm1d": (lambda: nn.BatchNorm1d(4), ROWS),
    "batch-norm2d": (lambda: nn.BatchNorm2d(3, momentum=0.3), IMAGE),
    "group-norm": (lambda: nn.GroupNorm(3, 3), IMAGE),
    "layer-norm": (lambda: nn.LayerNorm(4), ROWS),
    "rms-norm": (lambda: nn.RMSNorm(4), ROWS),
    "embedding": (lambda: nn.Embedding(7, 3), tokens(2, 5)),
    "gru": (lambda: nn.GRU(4, 3, batch_first=True), draw(2, 5, 4)),
    "recurrent": (Recurrent, tokens(2, 5)),
    "tied": (Tied, tokens(2, 5)),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True),
        draw(2, 5, 4),
    ),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 2),
        ),
        IMAGE,
    ),
}


def as_numpy(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf), tree)


def torch_leaves(out):
    return [leaf.detach().numpy() for leaf in torch.utils._pytree.tree_leaves(out)]


def assert_close(ours, theirs, tolerance=1e-5):
    for a, b in zip(jax.tree.leaves(ours), theirs, strict=True):
        np.testing.assert_allclose(a, b, tolerance, tolerance)


def make(case):
    build, x = CASES[case]
    torch.manual_seed(0)
    return build(), x


@jax.jit
def our_step(module, x):
    def loss(params, module):
        module = module.update(params)
        out = module(x)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(out)), (out, module)

    (_, (out, module)), grads = jax.value_and_grad(loss, has_aux=True)(module.parameters(), module)
    return out, module, grads


@pytest.mark.parametrize("case", CASES)
def test_torch_module_has_the_outputs_buffers_and_gradients_of_torch(case):
    theirs, x = make(case)
    ours = pax.from_torch(theirs)
    for _ in range(2):
        out, ours, grads = our_step(ours, x)
        theirs.zero_grad()
        their_out = theirs(torch.from_numpy(x))
        sum(leaf.sin().sum() for leaf in torch.utils._pytree.tree_leaves(their_out)).backward()
        assert_close(out, torch_leaves(their_out))
        expected = {name: p.grad for name, p in theirs.named_parameters() if p.requires_grad}
        assert grads.params.keys() == expected.keys()
        assert_close(grads.params, [expected[name].numpy() for name in sorted(expected)], 1e-4)
        buffers = dict(theirs.named_buffers())
        assert ours.state.keys() == buffers.keys()
        assert_close(ours.state, [buffers[name].numpy() for name in sorted(buffers)])
        assert jax.tree.leaves((grads.state, grads.frozen, grads.rng_key)) == []
    assert_close(ours.eval()(x), torch_leaves(theirs.eval()(torch.from_numpy(x))))


def test_torch_parameters_that_are_frozen_can_be_trained_later():
    theirs, x = make("recurrent")
    ours = pax.from_torch(theirs)
    assert set(ours.frozen) == {"head.bias"}
    _, _, grads = our_step(ours.unfreeze(), x)
    assert np.abs(grads.frozen["head.bias"]).max() > 0
    assert len(jax.tree.leaves(ours.freeze().parameters())) == 0


def test_torch_module_trains_and_its_original_does_not_change():
    theirs, x = make("cnn")
    before = {name: value.clone() for name, value in theirs.state_dict().items()}
    ours = pax.from_torch(theirs)
    optimizer = pax.optim.from_optax(optax.adam(0.01))(ours.parameters())
    losses = []

    @jax.jit
    def step(net, optimizer):
        def loss_fn(params, net):
            net = net.update(params)
            return jnp.mean((net(x) - 1.0) ** 2), net

        (loss, net), grads = jax.value_and_grad(loss_fn, has_aux=True)(net.parameters(), net)
        net = optimizer.step(grads, net)
        return loss, net, optimizer

    for _ in range(20):
        loss, ours, optimizer = step(ours, optimizer)
        losses.append(float(loss))
    assert losses[-1] < 0.2 * losses[0]
    assert ours.state["1.num_batches_tracked"] == 20
    for name, value in theirs.state_dict().items():
        assert torch.equal(value, before[name])


def test_torch_dropout_draws_from_the_key_of_the_module():
    net = pax.from_torch(nn.Dropout(0.5), rng_key=jax.random.key(1))
    same = pax.from_torch(nn.Dropout(0.5), rng_key=jax.random.key(1))
    x = np.ones((4, 50), np.float32)
    first, second = net(x), net(x)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(same(x), first)
    np.testing.assert_array_equal(net.eval()(x), x)
    torch.manual_seed(0)
    unkeyed = pax.from_torch(nn.Dropout(0.5), use_rng=False)
    key = unkeyed.rng_key
    assert not np.array_equal(unkeyed(x), unkeyed(x))
    assert unkeyed.rng_key is key


def test_lowered_torch_modules_equal_called_ones_and_train():
    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 3))
    called, lowered = (
        pax.from_torch(theirs, backend=backend, rng_key=jax.random.key(0))
        for backend in ("call", "xla")
    )
    assert lowered.params.keys() == dict(theirs.named_parameters()).keys()

    def loss(net):
        return jnp.mean(net(ROWS) ** 2), net

    text = jax.jit(lambda net: net(ROWS)).lower(lowered.eval()).as_text()
    assert "custom_call" not in text
    (grads, after), (expected, expected_after) = (
        pax.grad(loss, has_aux=True)(net) for net in (lowered, called)
    )
    for name, value in expected.params.items():
        np.testing.assert_allclose(grads.params[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    for name, value in expected_after.state.items():
        np.testing.assert_allclose(after.state[name], value, rtol=1e-5, err_msg=name)
    again = pickle.loads(pickle.dumps(lowered))
    np.testing.assert_allclose(again(ROWS), lowered(ROWS), rtol=1e-6)
    assert again.report().endswith("operators are lowered.")
    with pytest.raises(ValueError, match="report"):
        called.report()
    with pytest.raises(ValueError, match="strict"):
        pax.from_torch(theirs, strict=True)
    with pytest.raises(ValueError, match="backend is 'gpu'"):
        pax.from_torch(theirs, backend="gpu")


def test_torch_module_inside_a_model_is_pickled_and_captured():
    theirs, x = make("cnn")
    net = pax.Sequential(pax.from_torch(theirs), pax.Linear(2, 3)).eval()
    again = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(again(x), net(x))
    np.testing.assert_allclose(jax.jit(lambda x: net(x))(x), net(x), rtol=1e-5, atol=1e-6)


def test_what_from_torch_refuses(monkeypatch):
    with pytest.raises(TypeError, match=r"from_torch expects a torch\.nn\.Module, got 3"):
        pax.from_torch(3)
    monkeypatch.setitem(sys.modules, "torch2jax_bridge", None)
    with pytest.raises(ImportError, match=r"from_torch needs torch2jax_bridge.*pax-jax\[torch\]"):
        pax.from_torch(nn.Linear(2, 2))


def test_what_is_loaded_of_two_files_fits_and_is_of_the_structure_of_the_original():
    net = pax.from_torch(torch.nn.Linear(2, 3))
    one, pair = (
        pickle.loads(pickle.dumps(net)),
        pickle.loads(pickle.dumps((net, [net.parameters()]))),
    )
    for other in (one, pair[0], pickle.loads(pickle.dumps(one)), copy.deepcopy(net)):
        assert jax.tree.structure(other) == jax.tree.structure(net)
    jax.tree.map(lambda a, b: a + b, one.parameters(), pair[1][0])
    another = pax.from_torch(torch.nn.Linear(2, 3))
    assert jax.tree.structure(another) != jax.tree.structure(net)
