"""Submodules that functions, weak references and partial functions hold are those of the call."""
# ruff: noqa: E731

import functools
import warnings
import weakref

import pytest
import torch
from torch import nn

import pax_torch as pax


class Net(nn.Module):
    """Adds what `make(net)` returns as an attribute, and calls it."""

    def __init__(self, make, inner=None):
        super().__init__()
        self.l = inner or nn.Linear(3, 3)
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.call = make(self)

    def forward(self, x):
        return self.call(x)


def recursive(net):
    def apply(x, times=2):
        return x if times == 0 else apply(net.l(x), times - 1)

    return apply


def mutual(net):
    def even(x, n=3):
        return x if n == 0 else odd(x, n - 1)

    def odd(x, n):
        return net.l(x) if n == 0 else even(x, n - 1)

    return even


def within(net):
    layers = {"first": [net.l], "scale": (net.scale,)}
    inner = lambda x: layers["first"][0](x) * layers["scale"][0]
    return lambda x: inner(x)


def weak(net):
    reference = weakref.ref(net)
    return lambda x: reference().l(x)


def weak_method(net):
    reference = weakref.WeakMethod(net.l.forward)
    return lambda x: reference()(x)


def default(net):
    def call(x, net=net, *, scale=net.scale):
        return net.l(x) * scale

    return call


def wrapped(net):
    @functools.wraps(net.l.forward)
    def call(*args):
        return net.l(*args)

    return call


MAKES = {
    "closure": lambda net: lambda x: net.l(x),
    "parameter": lambda net: lambda x, s=net.scale: x * s,
    "nested": within,
    "recursive": recursive,
    "mutual": mutual,
    "weak reference": weak,
    "weak method": weak_method,
    "default": default,
    "wrapped": wrapped,
    "method": lambda net: net.l.forward,
    "partial": lambda net: functools.partial(nn.Linear.forward, net.l),
    "partial of closure": lambda net: functools.partial(lambda x, s: net.l(x) * s, s=net.scale),
}


@pytest.fixture
def x():
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("preserve", [True, False])
@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_agrees_with_the_module_itself(make, preserve, x):
    net = Net(make)
    forward = pax.functional_module(net, preserve)
    params = pax.tree_map(lambda p: p * 3 + 1, pax.get_params(net))
    found = pax.value_and_grad(lambda p: forward(p, x)[0].sin().sum())(params)
    net.load_state_dict(params)
    value = net(x).sin().sum()
    value.backward()
    grads = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    unused = {name: torch.zeros_like(p) for name, p in params.items() if name not in grads}
    torch.testing.assert_close(found, (value.detach(), {**grads, **unused}))


@pytest.mark.parametrize("preserve", [True, False])
def test_hook_that_closes_over_another_submodule(x, preserve):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    other = net[1]
    net.handle = net[0].register_forward_hook(lambda module, args, out: other(out))
    params = pax.tree_map(lambda p: p + 1, pax.get_params(net))
    out, _ = pax.functional_module(net, preserve)(params, x)
    torch.testing.assert_close(out, torch.func.functional_call(net, params, (x,)))


@pytest.mark.parametrize("preserve", [True, False])
def test_closed_over_batch_norm_writes_buffers_of_the_call(x, preserve):
    net = Net(lambda net: lambda x: net.l(x), nn.BatchNorm1d(3))
    reference = Net(lambda net: lambda x: net.l(x), nn.BatchNorm1d(3))
    before = pax.get_buffers(net)
    _, buffers = pax.functional_module(net, preserve)(pax.get_params(net), x)
    reference(x)
    torch.testing.assert_close(buffers, dict(reference.named_buffers()))
    torch.testing.assert_close(dict(net.named_buffers()), before, rtol=0, atol=0)


@pytest.mark.parametrize("preserve", [True, False])
def test_closures_of_one_variable_share_it(x, preserve):
    class Switches(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
            layer = self.first

            def switch():
                nonlocal layer
                layer = self.second

            self.switch, self.read = switch, lambda x: layer(x)

        def forward(self, x):
            before = self.read(x)
            self.switch()
            return before, self.read(x)

    net = Switches()
    forward, params = pax.functional_module(net, preserve), pax.get_params(net)
    expected = (net.first(x).detach(), net.second(x).detach())
    for _ in range(2):
        torch.testing.assert_close(forward(params, x)[0], expected)


@pytest.mark.parametrize("preserve", [True, False])
def test_hook_records_in_a_dictionary_outside(x, preserve):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    names, found = {module: name for name, module in net.named_modules()}, {}

    def record(module, args, out):
        found[names[module]] = out

    for module in net:
        module.register_forward_hook(record)
    pax.functional_module(net, preserve)(pax.get_params(net), x)
    torch.testing.assert_close(found, {"0": net[0](x), "1": net(x)})


def test_closures_in_vmap_and_jit(x):
    net = Net(within)
    forward, params = pax.functional_module(net), pax.stack_params([Net(within) for _ in range(4)])
    run = lambda params: forward(params, x)[0]
    expected = torch.func.vmap(lambda p: torch.func.functional_call(net, p, (x,)))(params)
    torch.testing.assert_close(pax.vmap(run)(params), expected)
    torch.testing.assert_close(pax.jit(pax.vmap(run), backend="eager")(params), expected)


def test_proxy_of_a_submodule(x):
    net = Net(lambda net: lambda x: net.proxy.forward(x))
    object.__setattr__(net, "proxy", weakref.proxy(net.l))
    params = pax.tree_map(lambda p: p * 3 + 1, pax.get_params(net))
    out, _ = pax.functional_module(net, preserve_original=False)(params, x)
    torch.testing.assert_close(out, torch.func.functional_call(net, params, (x,)))
    with pytest.raises(TypeError, match=r"'proxy' of the Net: it holds a Linear that is no submod"):
        pax.functional_module(net)


class Holder:
    """An object of no kind that can be made anew."""

    def __init__(self, held):
        self.held = held


def test_what_cannot_be_replaced_is_an_error():
    message = r"attribute 'call' of the Net: .* type Holder .* or pass preserve_original=False"
    holder = lambda net, held: lambda x: held.held(x)
    for make in (
        lambda net: Holder(lambda: net.l),
        lambda net: holder(net, Holder(net.l)),
        lambda net: holder(net, Holder([{"a": net.scale}])),
    ):
        with pytest.raises(TypeError, match=message):
            pax.functional_module(Net(make))


@pytest.mark.parametrize("preserve", [True, False])
def test_module_beside_the_submodules_with_one_of_their_tensors_is_an_error(preserve):
    class Tied(Net):
        def __init__(self):
            super().__init__(lambda net: net.l.forward)
            self.beside = [nn.Linear(3, 3, bias=False)]
            self.beside[0].weight = self.l.weight

    with pytest.raises(TypeError, match=r"'beside' of .*Tied: it holds a Linear that is no"):
        pax.functional_module(Tied(), preserve)


@pytest.mark.parametrize("preserve", [True, False])
def test_objects_that_refer_to_modules_far_away_are_shared(preserve, x):
    """Such as a logger that keeps what was logged."""
    records = Holder(Holder([]))
    net = Net(lambda net: net.l.forward)
    net.records = lambda: records
    records.held.held.append(net)
    params = pax.tree_map(lambda p: p + 1, pax.get_params(net))
    out, _ = pax.functional_module(net, preserve)(params, x)
    torch.testing.assert_close(out, torch.func.functional_call(net, params, (x,)))


@pytest.mark.parametrize("preserve", [True, False])
def test_attributes_behind_properties_and_of_partials(preserve, x):
    class Behind(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.Linear(3, 3)
            self.__dict__["layers"] = [self.l]
            self.call = functools.update_wrapper(functools.partial(nn.Linear.forward, self.l), len)

        @property
        def layers(self):
            return self.__dict__["layers"]

        def forward(self, x):
            assert self.call.__name__ == "len"
            return self.call(x) + self.layers[0](x)

    net = Behind()
    params = pax.tree_map(lambda p: p + 1, pax.get_params(net))
    out, _ = pax.functional_module(net, preserve)(params, x)
    torch.testing.assert_close(out, torch.func.functional_call(net, params, (x,)))


@pytest.mark.parametrize("preserve", [True, False])
def test_module_prepared_for_quantization(preserve, x):
    quantization = torch.ao.quantization
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = nn.Sequential(quantization.QuantStub(), nn.Linear(3, 3), quantization.DeQuantStub())
        net.qconfig = quantization.default_qconfig
        net = quantization.prepare(net.eval())
        forward, params = pax.functional_module(net, preserve), pax.get_params(net)
        out, buffers = forward(params, x, is_training=False)
        expected = net(x)
    torch.testing.assert_close(out, expected.detach())
    torch.testing.assert_close(buffers, dict(net.named_buffers()))


READERS = {
    "function": "hook = lambda module, args, out: net[1](out)",
    "function within it": "hook = lambda module, args, out: (lambda: net[1](out))()",
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize("preserve", [True, False])
def test_module_in_a_global_variable_is_an_error(preserve, reader):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    namespace = {"net": net}
    exec(reader, namespace)
    net[0].register_forward_hook(namespace["hook"])
    message = "'_forward_hooks' of submodule '0': .* global variable 'net'"
    with pytest.raises(TypeError, match=message):
        pax.functional_module(net, preserve)
