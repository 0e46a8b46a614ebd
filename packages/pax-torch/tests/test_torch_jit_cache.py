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


def test_dynamic_shapes_are_those_of_torch_compile():
    with pytest.raises(ValueError, match="takes no dynamic=True; with fullgraph=False"):
        pax.jit(lambda x: x, dynamic=True)
    seen = []

    def backend(graph, _):
        seen.append(graph)
        return graph

    double = pax.jit(lambda x: 2 * x, fullgraph=False, dynamic=True, backend=backend)
    for n in (4, 5, 6):
        assert double(torch.ones(n)).shape == (n,)
    assert len(seen) == 1
