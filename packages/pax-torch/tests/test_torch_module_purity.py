"""What a forward assigns changes no later call, no argument and no original."""
# ruff: noqa: E731

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
        self.acts, self.count = [], 0
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


def count(net, x):
    net.count += 1
    return x * net.count


def collect(net, x):
    net.acts = [*net.acts, x]
    return sum(net.acts)


WRITES = [switch_dropout_on, change_rate, remember_in_activation, count, collect]


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


@pytest.mark.parametrize("transform", [pax.vmap, lambda f: pax.jit(f, backend="eager")])
def test_writes_in_transforms(transform, x):
    forward = pax.functional_module(Writes(collect))
    params = pax.get_params(Writes(collect))
    run = transform(lambda x: forward(params, x, is_training=False)[0])
    assert_same([run(x), run(x + 1)], [x, x + 1])


@pytest.mark.parametrize("preserve", [True, False])
def test_what_is_written_into_containers_is_one_for_all_that_hold_it(preserve, x):
    """As in the module itself, from call to call too, but not from the calls to the module."""

    class Holder:
        pass

    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.state, self.holder, self.sums = {"n": 0}, Holder(), torch.zeros(2, 3)
            self.holder.state, self.row = self.state, self.sums[0]

        def forward(self, x):
            self.holder.state["n"] += 1
            self.row += 1
            return x * self.state["n"] + self.sums.sum()

    net = Counts()
    reference = copy.deepcopy(net)
    forward = pax.functional_module(net, preserve)
    for _ in range(3):
        assert_same(forward({}, x)[0], reference(x))
    assert net.state == {"n": 0 if preserve else 3}


def test_threads_do_not_see_each_others_writes(x):
    forward, params = pax.functional_module(Writes(collect)), pax.get_params(Writes(collect))
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
    with pytest.warns(
        UserWarning, match=r"max_norm=0.5\) scales rows .* torch.renorm\(params\['wei"
    ):
        forward = pax.functional_module(net)
    params = pax.get_params(net)
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


@pytest.mark.parametrize("preserve", [True, False])
@pytest.mark.parametrize("where", ["list", "dictionary", "object"])
def test_train_that_sets_what_is_no_submodule(x, where, preserve):
    """Where the mode is seen only deep in what the module holds."""

    class Holder:
        pass

    class Hides(nn.Linear):
        def __init__(self):
            super().__init__(3, 3)
            self.hidden, self.options, self.holder = [nn.Dropout(0.9)], {"a": {}}, Holder()
            self.train()

        def train(self, mode=True):
            super().train(mode)
            self.hidden[0].train(mode)
            self.options["a"]["factor"] = self.holder.factor = 2 if mode else 1
            return self

        def forward(self, x):
            if where == "list":
                return self.hidden[0](super().forward(x))
            factor = self.options["a"]["factor"] if where == "dictionary" else self.holder.factor
            return super().forward(x) * factor

    net = Hides()
    forward, params = pax.functional_module(net, preserve), pax.get_params(net)
    for is_training in (True, False, True, False):
        reference = copy.deepcopy(net).train(is_training)
        found, expected = (
            (torch.manual_seed(0), call())[1]
            for call in (
                lambda: forward(params, x, is_training=is_training)[0],
                lambda: reference(x),
            )
        )
        assert_same(found, expected.detach())


@pytest.mark.parametrize("preserve", [True, False])
def test_train_of_a_module_that_cannot_be_copied(x, preserve):
    class Locked(nn.Linear):
        def train(self, mode=True):
            self.lock = threading.Lock()
            return super().train(mode)

    net = Locked(3, 3)
    net.train()
    if preserve:
        with pytest.raises(TypeError, match=r"cannot copy attribute 'lock' of .*Locked"):
            pax.functional_module(net)
    else:
        out, _ = pax.functional_module(net, False)(pax.get_params(net), x)
        assert_same(out, net(x).detach())


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


@pytest.mark.parametrize("freeze", ["attribute", "method"])
@pytest.mark.parametrize("transform", [lambda f: f, pax.vmap], ids=["grad", "grad of vmap"])
def test_train_that_freezes_parameters_that_are_differentiated(x, freeze, transform):
    """Whose derivatives are taken all the same, since the caller asked for them."""

    class Freezing(nn.Linear):
        def train(self, mode=True):
            super().train(mode)
            if freeze == "attribute":
                self.weight.requires_grad = False
            else:
                self.bias.requires_grad_(False)
            return self

    net = Freezing(3, 3)
    forward, params = pax.functional_module(net), pax.get_params(net)
    run = transform(lambda params, x: forward(params, x)[0])
    if transform is pax.vmap:
        params, x = pax.stack_params([net, net]), torch.stack([x, x + 1])
    found = pax.grad(lambda params: run(params, x).sin().sum())(params)
    plain = pax.functional_module(nn.Linear(3, 3))
    run = transform(lambda params, x: plain(params, x)[0])
    assert_same(found, pax.grad(lambda params: run(params, x).sin().sum())(params))
