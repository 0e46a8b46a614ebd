"""What a converted module keeps from one call to the next, which is nothing."""
# ruff: noqa: E731

import gc
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


def test_running_averages_come_back(x):
    net = nn.BatchNorm1d(3)
    forward, params, buffers = pax.functional_module(net), pax.get_params(net), {}
    buffers = pax.get_buffers(net)
    for _ in range(3):
        _, buffers = forward(params, x, buffers=buffers, is_training=True)
        net(x)
    assert_same(buffers, pax.get_buffers(net))
    assert buffers["num_batches_tracked"] == 3
    _, unchanged = forward(params, x, buffers=buffers, is_training=False)
    assert_same(unchanged, buffers)


def test_default_buffers_are_those_of_the_module(x):
    net = nn.BatchNorm1d(3)
    net(x)
    forward, params = pax.functional_module(net), pax.get_params(net)
    expected = forward(params, x, buffers=pax.get_buffers(net))
    assert_same(forward(params, x), expected)
    assert_same(forward(params, x), expected)


def test_buffer_that_the_module_replaces():
    class Average(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(()), persistent=False)

        def forward(self, x):
            self.mean = 0.5 * self.mean + 0.5 * x.mean()
            return x

    forward = pax.functional_module(Average())
    _, buffers = forward({}, torch.ones(2))
    _, buffers = forward({}, torch.ones(2), buffers=buffers)
    assert_same(buffers, {"mean": torch.tensor(0.75)})


def test_overridden_train_is_respected(x):
    class Frozen(nn.Sequential):
        def train(self, mode=True):
            super().train(mode)
            self[0].eval()
            return self

    net = Frozen(nn.BatchNorm1d(3))
    forward = pax.functional_module(net)
    _, buffers = forward(pax.get_params(net), x, is_training=True)
    assert_same(buffers, pax.get_buffers(net))


def test_assigned_attributes_are_forgotten(x):
    class Remembers(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += 1
            self.last = x
            return super().forward(x) * self.calls

    net = Remembers(3, 3)
    forward, params = pax.functional_module(net), pax.get_params(net)
    assert_same(forward(params, x), forward(params, x))
    assert not hasattr(net, "last")


def test_keyword_arguments_and_any_output():
    class Custom(nn.Linear):
        def forward(self, x, *, scale=1.0):
            return {"out": super().forward(x) * scale, "scale": scale}

    net = Custom(3, 2)
    out, _ = pax.functional_module(net)(pax.get_params(net), torch.ones(1, 3), scale=2.0)
    assert_same(out["out"], net(torch.ones(1, 3))["out"].detach() * 2)
    assert out["scale"] == 2.0


def test_lazy_module_that_has_run(x):
    net = nn.LazyLinear(2)
    net(x)
    assert_same(pax.functional_module(net)(pax.get_params(net), x)[0], net(x).detach())


def test_computed_attribute_can_be_copied(x):
    net = nn.Linear(3, 3)
    net.cached = net.weight * 2
    assert_same(pax.functional_module(net)(pax.get_params(net), x)[0], net(x).detach())


def test_ensemble_under_vmap(x):
    nets = [nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)) for _ in range(4)]
    forward = pax.functional_module(nets[0])
    all_params = [pax.get_params(net) for net in nets]
    stacked = {name: torch.stack([p[name] for p in all_params]) for name in all_params[0]}
    out = torch.func.vmap(lambda params: forward(params, x)[0])(stacked)
    torch.testing.assert_close(out, torch.stack([net(x) for net in nets]).detach())


def batch_norm_net():
    return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 1))


@pytest.mark.parametrize("stacked", [True, False], ids=["stacked buffers", "one set of buffers"])
def test_ensemble_with_buffers_under_vmap(x, stacked):
    nets = [batch_norm_net() for _ in range(4)]
    forward, params = pax.functional_module(nets[0]), pax.stack_params(nets)
    if stacked:
        buffers, axis = pax.stack_buffers(nets), 0
    else:
        buffers, axis = pax.get_buffers(nets[0]), None

    def loss(params, buffers):
        out, buffers = forward(params, x, buffers=buffers, is_training=True)
        return out.square().sum(), buffers

    step = pax.vmap(pax.value_and_grad(loss, has_aux=True), in_axes=(0, axis))
    (values, new_buffers), grads = step(params, buffers)

    for i, net in enumerate(nets):
        (value, expected_buffers), gradient = pax.value_and_grad(loss, has_aux=True)(
            pax.get_params(net), pax.get_buffers(net)
        )
        found = pax.tree_map(lambda t, i=i: t[i], (values, new_buffers, grads))
        torch.testing.assert_close(found, (value, expected_buffers, gradient))


@pytest.mark.parametrize(
    "nest", [lambda f: pax.vmap(pax.vmap(f)), lambda f: pax.vmap(lambda x: pax.vmap(f)(x))]
)
def test_batch_norm_under_two_vmaps(nest):
    net = nn.BatchNorm1d(3)
    forward, params = pax.functional_module(net), pax.get_params(net)
    x = torch.randn(2, 4, 5, 3)
    out, buffers = nest(lambda x: forward(params, x))(x)
    for i in range(2):
        for j in range(4):
            expected = forward(params, x[i, j])
            torch.testing.assert_close(out[i, j], expected[0])
            torch.testing.assert_close({k: b[i, j] for k, b in buffers.items()}, expected[1])


def test_batch_norm_mapped_over_what_it_closes_over():
    forward, params = pax.functional_module(nn.BatchNorm1d(3)), pax.get_params(nn.BatchNorm1d(3))
    x = torch.randn(4, 5, 3)
    found = pax.vmap(lambda x: pax.grad(lambda p: forward(p, x)[0].sin().sum())(params))(x)
    expected = [pax.grad(lambda p: forward(p, x)[0].sin().sum())(params) for x in x]
    torch.testing.assert_close(found, pax.tree_map(lambda *g: torch.stack(g), *expected))


def test_evaluation_leaves_one_set_of_buffers():
    net = nn.BatchNorm1d(3)
    forward, params = pax.functional_module(net), pax.get_params(net)
    run = lambda x: forward(params, x, is_training=False)
    _, buffers = pax.vmap(run, out_axes=(0, None))(torch.randn(4, 5, 3))
    assert_same(buffers, pax.get_buffers(net))


def test_jacobians_of_batch_norm(x):
    net = batch_norm_net().double()
    forward, params = pax.functional_module(net), pax.get_params(net)
    f = lambda params: forward(params, x.double())[0].square().sum()
    hessian = pax.hessian(f)(params)["0.bias"]["3.weight"]
    expected = pax.jacrev(pax.grad(f))(params)["0.bias"]["3.weight"]
    torch.testing.assert_close(hessian, expected)


def test_stack_params_agrees_with_torch():
    nets = [batch_norm_net() for _ in range(3)]
    params, buffers = torch.func.stack_module_state(nets)
    assert_same(pax.stack_params(nets), pax.tree_map(torch.Tensor.detach, params))
    assert_same(pax.stack_buffers(nets), buffers)


def test_stack_errors():
    with pytest.raises(ValueError, match=r"takes a list of at least one module, got \[\]"):
        pax.stack_params([])
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module"):
        pax.stack_params([nn.Linear(1, 1), 3])
    message = r"'weight' is of shape \(1, 2\) and dtype .* in module 1 and of shape \(1, 1\)"
    with pytest.raises(ValueError, match=message):
        pax.stack_params([nn.Linear(1, 1), nn.Linear(2, 1)])
    with pytest.raises(ValueError, match="'bias' is missing in module 1"):
        pax.stack_params([nn.Linear(1, 1), nn.Linear(1, 1, bias=False)])


def test_second_order(x):
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    forward, params = pax.functional_module(net), pax.get_params(net)
    x = x.double()

    def gradient(*values):
        named = dict(zip(params, values, strict=True))
        loss = lambda p: forward(p, x)[0].square().sum()
        return tuple(pax.grad(loss, create_graph=True)(named).values())

    assert torch.autograd.gradcheck(gradient, [p.requires_grad_() for p in params.values()])


def test_call_within_a_call(x):
    inner = nn.Linear(3, 3)
    forward, params = pax.functional_module(inner), pax.get_params(inner)
    doubled = pax.tree_map(lambda p: 2 * p, params)

    class Outer(nn.Module):
        def forward(self, x):
            return forward(params, x)[0] + forward(doubled, x)[0]

    out, _ = pax.functional_module(Outer())({}, x)
    torch.testing.assert_close(out, 3 * inner(x).detach())


def test_recursion_into_itself(x):
    class Recursive(nn.Linear):
        def forward(self, x, depth=2):
            if depth:
                x, _ = recurse({n: p + 1 for n, p in self.named_parameters()}, x, depth=depth - 1)
            return super().forward(x)

    net = Recursive(3, 3)
    recurse, params = pax.functional_module(net), pax.get_params(net)
    expected = x
    for shift in (2, 1, 0):
        expected = nn.functional.linear(expected, params["weight"] + shift, params["bias"] + shift)
    torch.testing.assert_close(recurse(params, x)[0], expected)


def test_threads(x):
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    forward, params, buffers = pax.functional_module(net), pax.get_params(net), {}
    buffers = pax.get_buffers(net)
    inputs = [(pax.tree_map(lambda p, i=i: p + i, params), i % 2 == 0) for i in range(6)]
    run = lambda p, training: forward(p, x, buffers=buffers, is_training=training)
    expected = [run(*given) for given in inputs]
    wrong, count = [], torch.get_num_threads()

    def work(i):
        # Sums over a batch are rounded by how many threads PyTorch has, which differs by thread.
        torch.set_num_threads(count)
        for _ in range(20):
            for actual, value in zip(
                pax.tree_leaves(run(*inputs[i])), pax.tree_leaves(expected[i]), strict=True
            ):
                if not torch.equal(actual, value):
                    wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_no_tensor_stays_alive(x):
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    forward, params, buffers = pax.functional_module(net), pax.get_params(net), {}
    buffers = pax.get_buffers(net)

    def loss(params, buffers):
        out, buffers = forward(params, x, buffers=buffers)
        return out.square().sum(), buffers

    step = pax.value_and_grad(loss, has_aux=True)
    (_, buffers), _ = step(params, buffers)
    gc.collect()
    gc.disable()
    try:
        count = lambda: sum(issubclass(type(t), torch.Tensor) for t in gc.get_objects())
        (_, buffers), _ = step(params, buffers)
        before = count()
        for _ in range(1000):
            (_, buffers), _ = step(params, buffers)
        gc.collect()
        assert count() < before + 10  # far less than one a step
    finally:
        gc.enable()


def test_copies_share_no_memory():
    net = nn.BatchNorm1d(3)
    for getter, own in ((pax.get_params, net.parameters), (pax.get_buffers, net.buffers)):
        for copied, original in zip(getter(net).values(), own(), strict=True):
            assert copied.data_ptr() != original.data_ptr()
            assert type(copied) is torch.Tensor
            assert not copied.requires_grad


@pytest.mark.parametrize("preserve_original", [True, False])
def test_module_that_compiles_its_calls_runs_without(x, preserve_original):
    net = nn.Linear(3, 3)
    net.compile(backend="eager")
    forward = pax.functional_module(net, preserve_original)
    doubled = pax.tree_map(lambda p: 2 * p, pax.get_params(net))
    expected = nn.functional.linear(x, doubled["weight"], doubled["bias"])
    assert_same(forward(doubled, x)[0], expected)


class Special(torch.nn.Linear):
    pass


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Special(2, 2), "the module is Special in module 1 and Linear in module 0"),
        (torch.nn.Sequential(), "the module is Sequential in module 1"),
    ],
)
def test_modules_of_different_classes_are_not_stacked(other, message):
    for stack in (pax.stack_params, pax.stack_buffers):
        with pytest.raises(ValueError, match=message):
            stack([torch.nn.Linear(2, 2), other])


def test_submodules_of_different_classes_are_not_stacked():
    nets = [
        torch.nn.Sequential(torch.nn.Linear(2, 2), act()) for act in (torch.nn.ReLU, torch.nn.Tanh)
    ]
    with pytest.raises(ValueError, match="submodule '1' is Tanh in module 1 and ReLU in module 0"):
        pax.stack_params(nets)


def test_parametrized_modules_are_stacked():
    nets = [torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 2)) for _ in range(3)]
    assert {x.shape[0] for x in pax.stack_params(nets).values()} == {3}
