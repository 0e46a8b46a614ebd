"""What a forward writes to changes no later call, no argument and no original."""
# ruff: noqa: E731

import collections
import copy
import threading

import pytest
import torch
from torch import nn

import pax_torch as pax


def assert_same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.fixture
def x():
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(1))


class Writes(nn.Module):
    """Calls `write(self, x)`, which changes the module."""

    def __init__(self, write):
        super().__init__()
        self.l, self.drop, self.act = nn.Linear(3, 3), nn.Dropout(0.5), nn.ReLU()
        self.acts, self.seen, self.queue = [], set(), collections.deque(maxlen=2)
        self.cache, self.nested = {}, {"a": ([1], {"b": [2]})}
        self.count = torch.zeros(())
        self.write = write

    def forward(self, x):
        return self.write(self, x)


def switch_dropout_on(net, x):
    out = net.drop(x)
    net.drop.train()
    return out


def change_rate(net, x):
    rate, net.drop.p = net.drop.p, 0.1
    return x * rate


def remember_in_activation(net, x):
    found, net.act.last = getattr(net.act, "last", 0), 1
    return x * found


def append(net, x):
    net.acts.append(x)
    return sum(net.acts)


def cached(net, x):
    if x.shape not in net.cache:
        net.cache[x.shape] = net.l.weight.sum()
    return x * net.cache[x.shape]


def count_in_place(net, x):
    net.count += 1
    return x * net.count


def nested(net, x):
    net.nested["a"][1]["b"].append(3)
    return x * len(net.nested["a"][1]["b"])


def in_a_queue(net, x):
    net.queue.append(1)
    net.seen.add(len(net.seen))
    return x * (len(net.queue) + 10 * len(net.seen))


WRITES = [
    switch_dropout_on,
    change_rate,
    remember_in_activation,
    append,
    cached,
    count_in_place,
    nested,
    in_a_queue,
]


@pytest.mark.parametrize("write", WRITES)
def test_second_call_is_as_the_first(write, x):
    net = Writes(write)
    forward, params = pax.functional_module(net), pax.get_params(net)
    expected = copy.deepcopy(net).eval()(x).detach()
    assert_same(forward(params, x, is_training=False)[0], expected)
    changed = pax.tree_map(lambda p: p + 1, params)
    assert_same(forward(params, x, is_training=False)[0], expected)
    other = torch.func.functional_call(copy.deepcopy(net).eval(), changed, (x,))
    assert_same(forward(changed, x, is_training=False)[0], other)
    assert_same(net.eval()(x).detach(), expected)


def test_dictionary_that_holds_itself(x):
    def count(net, x):
        net.loop["self"]["n"] = net.loop.get("n", 0) + 1
        return x * net.loop["n"]

    net = Writes(count)
    net.loop = {}
    net.loop["self"] = net.loop
    forward, params = pax.functional_module(net), pax.get_params(net)
    assert_same([forward(params, x)[0] for _ in range(2)], [x, x])
    assert list(net.loop) == ["self"]


@pytest.mark.parametrize("transform", [pax.vmap, lambda f: pax.jit(f, backend="eager")])
def test_writes_in_transforms(transform, x):
    forward = pax.functional_module(Writes(append))
    params = pax.get_params(Writes(append))
    run = transform(lambda x: forward(params, x, is_training=False)[0])
    assert_same([run(x), run(x + 1)], [x, x + 1])


def test_list_that_submodules_share_is_one_in_a_call(x):
    class Parent(nn.Module):
        def __init__(self):
            super().__init__()
            self.children_ = nn.ModuleList([Writes(append), Writes(append)])
            self.acts = []
            for child in self.children_:
                child.acts = self.acts

        def forward(self, x):
            for child in self.children_:
                child(x)
            return torch.stack(self.acts)

    net = Parent()
    forward, params = pax.functional_module(net), pax.get_params(net)
    expected = copy.deepcopy(net)(x)
    assert_same([forward(params, x)[0] for _ in range(2)], [expected, expected])


def test_threads_do_not_see_each_others_writes(x):
    forward, params = pax.functional_module(Writes(append)), pax.get_params(Writes(append))
    wrong = []

    def work(i):
        found = [forward(params, x + i)[0] for _ in range(50)]
        wrong.extend(out for out in found if not torch.equal(out, x + i))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_embedding_that_scales_its_weight(kind, is_training):
    net = kind(5, 3, max_norm=0.5)
    forward, params = pax.functional_module(net), pax.get_params(net)
    before, index = params["weight"].clone(), torch.tensor([[1, 2]])
    loss = lambda p: forward(p, index, is_training=is_training)[0].sin().sum()
    value, grads = pax.value_and_grad(loss)(params)
    assert_same(params["weight"], before)
    expected = net(index).sin().sum()
    expected.backward()
    assert_same((value, grads["weight"]), (expected.detach(), net.weight.grad))
    assert not torch.equal(net.weight, before)
    compiled = pax.jit(loss, backend="eager")
    assert_same(compiled(params), value)
    assert_same(params["weight"], before)


class Merging(nn.Linear):
    """Adds a low-rank term to its weight in evaluation mode, as LoRA does."""

    def __init__(self):
        super().__init__(3, 3)
        self.a, self.b = nn.Parameter(torch.randn(3, 1)), nn.Parameter(torch.randn(1, 3))
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (-1 if mode else 1) * (self.a @ self.b).data
            self.merged = not mode
        return self

    def forward(self, x):
        return super().forward(x) + (0 if self.merged else x @ (self.a @ self.b).T)


@pytest.mark.parametrize("preserve", [True, False])
@pytest.mark.parametrize("was_training", [True, False])
def test_train_that_merges_weights(x, preserve, was_training):
    net = nn.Sequential(Merging()).train(was_training)
    forward, params = pax.functional_module(net, preserve), pax.get_params(net)
    given = pax.tree_map(torch.clone, params)
    for is_training in (True, False, True):
        expected = copy.deepcopy(net).train(is_training)(x)
        assert_same(forward(params, x, is_training=is_training)[0], expected.detach())
    assert_same(params, given)
    assert_same(dict(net.named_parameters()), given)
    assert net[0].merged is not was_training
    assert net.training is net[0].training is was_training


def test_train_that_freezes_leaves_tensors_shared(x):
    class Freezing(nn.Sequential):
        def train(self, mode=True):
            super().train(mode)
            self[0].eval()
            for parameter in self[0].parameters():
                parameter.requires_grad = False
            return self

    net = Freezing(nn.BatchNorm1d(3), nn.Linear(3, 3))
    expected = copy.deepcopy(net).train()(x).detach()
    forward, params = pax.functional_module(net, preserve_original=False), pax.get_params(net)
    assert_same(forward(params, x)[0], expected)
    assert all(p.requires_grad for p in net.parameters())
