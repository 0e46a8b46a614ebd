"""The inference of results leaves no trace: what a function keeps from its first call is the call's."""

import collections
import functools
import gc
import itertools
import random
import re
import threading
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from torch2jax_bridge import ShapeInferenceError, torch2jax

X = jnp.arange(6.0).reshape(3, 2)


def lower(n):
    return torch.tril(torch.ones(n, n))


def right(x):
    return lower(len(x)) @ x


@functools.lru_cache
def cached(n):
    return lower(n)


@functools.cache
def cached_without_bound(n):
    return lower(n)


GLOBAL = None
COUNT = 0
CACHE = {}


def global_name(x):
    global GLOBAL
    GLOBAL = lower(len(x)) if GLOBAL is None else GLOBAL
    return GLOBAL @ x


def new_global(x):
    global NEW
    if "NEW" not in globals():
        NEW = lower(len(x))
    return NEW @ x


def global_dict(x):
    if len(x) not in CACHE:
        CACHE[len(x)] = lower(len(x))
    return CACHE[len(x)] @ x


def function_attribute(x):
    if not hasattr(function_attribute, "mask"):
        function_attribute.mask = lower(len(x))
    return function_attribute.mask @ x


def default_argument(x, kept=[]):
    kept or kept.append(lower(len(x)))
    return kept[0] @ x


def closure():
    mask = None

    def function(x):
        nonlocal mask
        mask = lower(len(x)) if mask is None else mask
        return mask @ x

    return function


def nested_containers():
    kept = {"a": [{"b": collections.deque()}, ({"c": set()},)]}

    def function(x):
        inner = kept["a"][0]["b"]
        inner or inner.append(lower(len(x)))
        kept["a"][1][0]["c"].add(len(x))
        return inner[0] @ x

    return function


class Callable:
    made = None

    def __init__(self):
        self.mask = None
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        self.mask = lower(len(x)) if self.mask is None else self.mask
        return self.mask @ x

    def method(self, x, scale=1.0):
        return self(x) * scale

    @classmethod
    def of_class(cls, x):
        cls.made = lower(len(x)) if cls.made is None else cls.made
        return cls.made @ x


class Slots:
    __slots__ = ("mask",)

    def __call__(self, x):
        if not hasattr(self, "mask"):
            self.mask = lower(len(x))
        return self.mask @ x


class WithProperty:
    n = 3

    @functools.cached_property
    def mask(self):
        return lower(self.n)

    @functools.lru_cache
    def of(self, n):
        return lower(n)

    def __call__(self, x):
        return (self.mask + self.of(len(x))) @ x / 2


class Attend(nn.Module):
    def __init__(self, register=False):
        super().__init__()
        self.mask = None
        self.register = register
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.register and "late" not in dict(self.named_buffers()):
            self.register_buffer("late", lower(len(x)), persistent=False)
        if self.mask is None:
            self.mask = lower(len(x))
            self.inner = nn.Identity()
        return (self.late if self.register else self.mask) @ self.inner(x)


def local():
    kept = threading.local()

    def function(x):
        if not hasattr(kept, "mask"):
            kept.mask = lower(len(x))
        return kept.mask @ x

    return function


def of_namespace():
    return types.MethodType(lambda self, x: type(self).__call__(self, x), Callable())


FUNCTIONS = {
    "lru_cache": lambda: lambda x: cached(len(x)) @ x,
    "cache": lambda: lambda x: cached_without_bound(len(x)) @ x,
    "global": lambda: global_name,
    "new global": lambda: new_global,
    "global dict": lambda: global_dict,
    "function attribute": lambda: function_attribute,
    "default argument": lambda: default_argument,
    "closure": closure,
    "nested containers": nested_containers,
    "callable object": Callable,
    "bound method": lambda: Callable().method,
    "class method": lambda: Callable.of_class,
    "partial": lambda: functools.partial(Callable().method, scale=1.0),
    "slots": Slots,
    "cached_property": WithProperty,
    "captured module": lambda: (lambda module: lambda x: module(x))(Attend()),
    "captured module's late buffer": lambda: Attend(register=True).forward,
    "thread-local": local,
    "method of an instance": of_namespace,
    "decorated": lambda: torch.no_grad()(closure()),
}


def fakes_alive():
    gc.collect()
    return sum(issubclass(type(x), FakeTensor | FakeTensorMode) for x in gc.get_objects())


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("transform", [jax.jit, lambda f: f], ids=["jit", "eager"])
def test_bridge_what_a_function_keeps_from_its_first_call_has_values(kind, transform):
    function = FUNCTIONS[kind]()
    wrapped = torch2jax(function, X)
    expected = right(torch.tensor(np.asarray(X))).numpy()
    for _ in range(2):
        np.testing.assert_array_equal(transform(wrapped)(X), expected)
    np.testing.assert_array_equal(function(torch.tensor(np.asarray(X))), expected)


@pytest.mark.parametrize("register", [False, True])
def test_bridge_what_a_module_keeps_from_its_first_call_has_values(register):
    module = Attend(register)
    apply, params, buffers = torch2jax(module)
    assert buffers == {}
    expected = right(torch.tensor(np.asarray(X))).numpy()
    for training in (True, False):
        out = jax.jit(lambda x, on=training: apply(params, x, is_training=on)[0])(X)
        np.testing.assert_array_equal(out, expected)
    assert (module.calls, module.mask, dict(module.named_children())) == (0, None, {})
    grads = jax.jit(jax.grad(lambda x: apply(params, x)[0].sum()))(X)
    np.testing.assert_array_equal(grads, lower(3).sum(0)[:, None].expand(3, 2))


def test_bridge_inference_counts_no_call():
    global COUNT
    COUNT = 0
    calls, seen, ids = 0, [], itertools.count(5)
    rows = iter(range(10, 20))
    counter, array, raw = collections.Counter(), np.zeros(2), bytearray(1)
    module = Attend()
    drawn = []

    def function(x):
        nonlocal calls
        global COUNT
        calls += 1
        COUNT += 1
        seen.append(next(ids))
        counter["calls"] += 1
        array[0] += 1
        raw[0] += 1
        drawn.append((random.random(), float(np.random.rand())))
        return module(x) + next(rows)

    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    torch2jax(function, X, example_kw={})
    assert (calls, COUNT, seen, dict(counter), array[0], raw[0]) == (0, 0, [], {}, 0, 0)
    assert (module.calls, module.mask, drawn) == (0, None, [])
    assert (next(ids), next(rows)) == (5, 10)
    states = random.getstate(), np.random.get_state()[1], torch.get_rng_state()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])
    torch2jax(function)(X).block_until_ready()
    assert (calls, COUNT, seen, module.calls) == (1, 1, [6], 1)


@pytest.mark.parametrize("how", ["fake", "run"])
def test_bridge_inference_leaves_captured_tensors_alone(how):
    state, weight = torch.zeros(3), torch.ones(3, requires_grad=True)
    swapped = torch.zeros(3)
    address = swapped.data_ptr()

    def function(x):
        state.add_(1)
        state[0] = 5
        with torch.enable_grad():
            (weight * x).sum().backward()
        swapped.data = torch.ones(3)
        return x + state.detach().clone()

    torch2jax(function, torch.ones(3), infer=how)
    assert state.tolist() == [0, 0, 0]
    assert weight.grad is None
    assert swapped.data_ptr() == address
    np.testing.assert_array_equal(torch2jax(function)(jnp.ones(3)), [6, 2, 2])
    assert state.tolist() == [5, 1, 1]


def test_bridge_inference_that_fails_leaves_no_trace():
    kept = []

    def function(x):
        kept.append(cached(7))
        return x * float(x.sum())

    cached.cache_clear()
    with pytest.raises(ShapeInferenceError, match="pass output_shapes="):
        torch2jax(function, X)
    assert kept == []
    assert type(cached(7)) is torch.Tensor


class Opaque:
    """Keeps what it is given where nobody finds it."""

    def __init__(self):
        self.put = {}.setdefault


def hidden_place():
    box = Opaque()
    return lambda x: box.put("mask", lower(len(x))) @ x


def test_bridge_a_dict_behind_a_builtin_method_is_found():
    np.testing.assert_array_equal(torch2jax(hidden_place())(X), right(torch.tensor(np.asarray(X))))


def test_bridge_tensors_without_values_that_stay_are_an_error(monkeypatch):
    place = types.ModuleType("place")

    def function(x):
        vars(place)["mask"] = mask = lower(len(x))
        return mask @ x

    with pytest.raises(ShapeInferenceError, match=r"keeps a tensor, \(3, 3\) of torch.float32"):
        torch2jax(function, X)
    with pytest.raises(RuntimeError, match="no values"):
        place.mask @ torch.ones(3, 2)
    shapes = jax.ShapeDtypeStruct((3, 2), jnp.float32)
    for results in (lambda x: place.mask @ x, lambda x: place.mask[:, :2]):
        with pytest.raises(jax.errors.JaxRuntimeError, match="no values"):
            jax.block_until_ready(torch2jax(results, output_shapes=shapes)(X))


@pytest.mark.parametrize("kwargs", [{}, {"allow_non_fake_inputs": True}])
def test_bridge_results_without_memory_are_refused(kwargs):
    with FakeTensorMode(**kwargs):
        fake = torch.ones(3, 2)
    with pytest.raises(
        jax.errors.JaxRuntimeError, match="Result 0 is a FakeTensor, which has no me"
    ):
        jax.block_until_ready(torch2jax(lambda x: fake, output_shapes=X)(X))


def test_bridge_a_generator_is_not_used_up():
    numbers = (float(n) for n in range(3))

    def function(x):
        return x + next(numbers)

    with pytest.raises(
        ShapeInferenceError, match=r"uses a builtins\.generator that it has captured"
    ):
        torch2jax(function, X)
    np.testing.assert_array_equal(torch2jax(function, output_shapes=X)(X), X)


ITERATORS = {
    "zip": lambda rows: zip(rows, iter([5.0, 6.0, 7.0]), strict=False),
    "zip of one": lambda rows: (lambda it: zip(it, it, strict=False))(iter(range(1, 7))),
    "map": lambda rows: map(float, rows),
    "enumerate": lambda rows: enumerate(rows, 3),
    "filter": lambda rows: filter(None, rows),
    "chain": lambda rows: itertools.chain(rows, [9.0]),
    "islice": lambda rows: itertools.islice(rows, 3),
    "cycle": itertools.cycle,
    "starmap of zip": lambda rows: itertools.starmap(max, zip(rows, rows, strict=False)),
    "tee": lambda rows: itertools.tee(rows)[1],
    "dict": lambda rows: iter({1.0: 2.0, 3.0: 4.0}),
}


@pytest.mark.parametrize("kind", ITERATORS)
def test_bridge_iterators_of_iterators_are_not_used_up(kind):
    numbers = ITERATORS[kind](iter([1.0, 2.0, 3.0, 4.0]))
    expected = next(ITERATORS[kind](iter([1.0, 2.0, 3.0, 4.0])))

    def function(x):
        item = next(numbers)
        return x + (sum(item) if isinstance(item, tuple) else item)

    out = torch2jax(function, X)(X)
    total = sum(expected) if isinstance(expected, tuple) else expected
    np.testing.assert_array_equal(out, X + total)


def test_bridge_iterators_in_slots_and_defaults_are_not_used_up():
    class Rows:
        __slots__ = ("rows",)

    held = Rows()
    held.rows = iter([1.0, 2.0])

    def function(x, others=iter([10.0, 20.0])):
        return x + next(held.rows) + next(others)

    for total in (11, 22):
        np.testing.assert_array_equal(torch2jax(function)(X), X + total)


def test_bridge_an_iterator_that_cannot_be_copied_is_not_used_up():
    found = re.finditer(r"\d", "123")
    with pytest.raises(ShapeInferenceError, match=r"uses a builtins\.callable_iterator"):
        torch2jax(lambda x: x + float(next(found)[0]), X)
    assert next(found)[0] == "1"


def test_bridge_a_cache_beside_much_data_is_put_back():
    data, cache = [{"row": [row]} for row in range(110_000)], {}

    def function(x):
        if "mask" not in cache:
            cache["mask"] = lower(3)
        return cache["mask"] @ x * len(data[0])

    np.testing.assert_array_equal(torch2jax(function, X)(X), right(torch.tensor(np.asarray(X))))


def test_bridge_module_that_makes_parameters_in_its_first_call():
    class Late(nn.Module):
        def forward(self, x):
            if not hasattr(self, "inner"):
                self.inner = nn.Linear(2, 2)
            return self.inner(x)

    module = Late()
    apply, params, _ = torch2jax(module)
    with pytest.raises(TypeError, match=r"in its first call: \['inner.bias', 'inner.weight'\]; J"):
        apply(params, X)
    expected = module(torch.tensor(np.asarray(X)))
    apply, params, _ = torch2jax(module)
    np.testing.assert_allclose(apply(params, X)[0], expected.detach(), rtol=1e-6)


def test_bridge_inference_leaves_no_mode_behind():
    def trial():
        net = nn.Sequential(*[nn.Linear(2, 2) for _ in range(5)])
        apply, params, _ = torch2jax(net)
        jax.block_until_ready(jax.grad(lambda p: apply(p, X)[0].sum())(params))
        torch2jax(lambda x: torch.ones(2, 3).t() + torch.tensor([2.0])[0] + x)(X)

    before = fakes_alive()
    trial()
    assert fakes_alive() == before
