"""The programs of a compiled function: their number, how they are dropped, and what makes too many."""

import gc
import warnings
import weakref

import pytest
import torch

import pax_torch as pax

X = torch.arange(3.0)


def jit(function, *args, **kwargs):
    return pax.jit(function, *args, backend="eager", **kwargs)


def test_number_of_programs():
    step = jit(lambda x, n: x * n, static_argnums=1)
    assert step.cache_size() == 0
    for x, n in ((X, 1), (X, 2), (X, 1), (torch.ones(2), 1)):
        step(x, n)
    assert step.cache_size() == 3


def test_programs_of_derivatives_count_and_are_dropped():
    square = jit(lambda x: (x * x).sum())
    assert pax.grad(square)(X).equal(2 * X)
    assert square.cache_size() == 2
    square.clear_cache()
    assert square.cache_size() == 0
    assert pax.grad(square)(X).equal(2 * X)


def test_a_function_is_traced_again_after_its_programs_are_dropped():
    traced = []
    step = jit(lambda x: traced.append(0) or x + 1)
    step(X), step(X)
    assert len(traced) == 1
    step.clear_cache()
    step(X)
    assert len(traced) == 2


def compiled_layer():
    net = torch.nn.Linear(3, 1)
    step = jit(pax.grad(lambda x: net(x).sum()))
    step(X)
    return weakref.ref(net), step


def test_what_a_dropped_function_closed_over_is_freed():
    net, _ = compiled_layer()
    del _
    gc.collect()
    assert net() is None


def test_a_number_that_changes_in_every_call_is_named_once():
    power = jit(lambda x, n, *, scale=1.0: x**n * scale, static_argnums=1, static_argnames="scale")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in [2, 3, 2, 3] * 6:  # a few that come again
            power(X, n)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for i in range(12):
            power(X, 3, scale=float(i))
    assert "'scale' was another number in each (now 8.0)" in str(found[0].message)
    assert len(found) == 1
    assert found[0].filename == __file__


def with_graphs(**options):
    """Return `jit` with open sizes, and the list of what it has compiled."""
    seen = []

    def backend(graph, _):
        seen.append(graph)
        return graph

    return lambda function: pax.jit(function, dynamic=True, backend=backend, **options), seen


DYNAMIC = {  # a function, arguments of a size, and how many programs there are for all SIZES
    "sum": (lambda x: x.sum(0), lambda n: [torch.ones(n, 3)], 1),
    "two": (lambda x, y: x * y, lambda n: [torch.ones(n, 3), torch.ones(n, 3)], 1),
    "closure": (lambda x: x @ torch.ones(3, 2), lambda n: [torch.ones(n, 3)], 1),
    "size": (lambda x: (x.sum() / x.shape[0], x.shape[0]), lambda n: [torch.ones(n)], 1),
    "branch": (lambda x: 2 * x if x.shape[0] > 4 else 3 * x, lambda n: [torch.ones(n)], 2),
    "loop": (sum, lambda n: [torch.arange(6.0)[: n - n % 2]], 3),
    "vmap": (pax.vmap(lambda row: row.softmax(0)), lambda n: [torch.eye(n, n + 1)], 1),
    "transposed": (lambda x: x.reshape(-1), lambda n: [torch.ones(3, n).T], 1),
    "scan": (
        lambda x: pax.lax.scan(lambda c, v: (c + v, c), torch.zeros(()), x)[0],
        lambda n: [torch.ones(n)],
        4,
    ),
    "grad": (
        pax.grad(lambda w, x: ((x @ w) ** 2).mean()),
        lambda n: [torch.ones(3), torch.ones(n, 3)],
        1,
    ),
}
SIZES = (3, 4, 5, 7, 4)


@pytest.mark.parametrize("name", DYNAMIC)
def test_dynamic_programs_are_for_all_sizes(name):
    function, arguments, programs = DYNAMIC[name]
    make, seen = with_graphs()
    jitted = make(function)
    for size in SIZES:
        got, want = jitted(*arguments(size)), function(*arguments(size))
        pax.tree_map(lambda a, b: torch.testing.assert_close(a, torch.as_tensor(b)), got, want)
    assert jitted.cache_size() == len(seen) == programs


def test_dynamic_programs_are_differentiated():
    make, seen = with_graphs()
    loss = make(lambda w, x: (x * w).sum())
    for size in SIZES:
        w = torch.ones(3, requires_grad=True)
        loss(w, torch.ones(size, 3)).backward()
        assert torch.equal(w.grad, torch.full((3,), float(size)))
    assert loss.cache_size() == len(seen) == 2


def test_dynamic_sizes_of_zero_and_one_have_programs_of_their_own():
    jitted, _ = with_graphs()
    double = jitted(lambda x: 2 * x)
    for size, programs in ((5, 1), (1, 2), (0, 3), (9, 3)):
        assert double(torch.ones(size)).shape == (size,)
        assert double.cache_size() == programs


@pytest.mark.parametrize("dynamic", [None, False])
def test_without_dynamic_each_size_has_a_program(dynamic):
    double = pax.jit(lambda x: 2 * x, dynamic=dynamic, backend="eager")
    for size in (4, 5, 4):
        double(torch.ones(size))
    assert double.cache_size() == 2


def test_dynamic_shapes_are_those_of_torch_compile_without_a_full_graph():
    make, seen = with_graphs(fullgraph=False)
    double = make(lambda x: 2 * x)
    for n in (4, 5, 6):
        assert double(torch.ones(n)).shape == (n,)
    assert len(seen) == 1


def test_the_oldest_programs_are_dropped_and_made_again(monkeypatch):
    monkeypatch.setattr("pax_torch._compile.cache._KEPT", 3)
    traced = []
    power = jit(lambda x, n: traced.append(n) or (x**n).sum(), static_argnums=1)
    for n in (1, 2, 3, 2, 4, 2, 1):  # 4 drops 1, and 1 drops 2
        assert power(X, n) == (X**n).sum()
        assert power.cache_size() <= 3
    assert traced == [1, 2, 3, 4, 1]
    for n in (1, 2, 3, 4, 5):
        assert pax.grad(power)(X, n).equal(n * X ** (n - 1))
    assert power.cache_size() == 6  # with those of the derivative


def test_programs_for_outcomes_are_dropped_too(monkeypatch):
    monkeypatch.setattr("pax_torch._compile.cache._KEPT", 2)
    add, seen = with_graphs()
    add = add(sum)
    for size in (2, 3, 4, 5):
        assert add(torch.ones(size)) == size
    assert (add.cache_size(), len(seen)) == (2, 4)
