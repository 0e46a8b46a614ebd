"""What is given as a second tree is paired with the first by key, in whatever order both were filled."""

import enum
import itertools
import math

import pytest
import torch

import pax_torch as pax


class Part(enum.Enum):
    ENCODER = 1
    DECODER = 2
    HEAD = 3


KEYS = {
    "members": [*Part],
    "int and str": [1, "x", 2],
    "dtypes": [torch.float32, torch.float64, torch.int8],
    "sets": [frozenset({1}), frozenset({2}), frozenset({1, 2})],
    "not a number": [math.nan, 1.0, -math.inf],
    "tuples": [(1, "a"), ("a", 1), (None,)],
    "bare objects": [object(), object(), object()],
}


def tree(keys, scale):
    """A tree of vectors of two elements, whose values tell the keys apart."""
    numbers = {id(key): i + 1.0 for keys in KEYS.values() for i, key in enumerate(keys)}
    return {key: torch.tensor([scale, 2 * scale]) * numbers[id(key)] for key in keys}


def total(values):
    return pax.tree_sum(pax.tree_map(lambda x: (x**3).sum(), values))


def with_rule(a, b):
    """The gradient of a function whose rule gives a dict in the order of `b`."""
    f = pax.custom_vjp(total)
    f.defvjp(lambda x: (total(x), x), lambda x, g: ({k: g * 2 * x[k] + b[k] for k in b},))
    return pax.grad(f)(a)


def with_tangent(a, b):
    """The derivative of a function whose rule gives a dict in the order of `b`."""
    f = pax.custom_jvp(lambda x: pax.tree_scale(2.0, x))
    f.defjvp(lambda x, t: (f(*x), {k: 2 * t[0][k] + b[k] for k in b}))
    return pax.jvp(f, (a,), (a,))


def stepped(a, b):
    optimizer = pax.functional_optimizer(torch.optim.SGD, lr=0.1, momentum=0.9)
    _, state = optimizer.step(a, a, optimizer.init(a))
    state = {k: {key: v[key] for key in b} if isinstance(v, dict) else v for k, v in state.items()}
    return optimizer.step(a, b, state)


def updated(a, b):
    optimizer = pax.functional_optimizer(torch.optim.Adam, lr=0.1)
    return optimizer.compute_update(a, b, optimizer.init(a))


def labelled(a, b):
    sgd = {key: pax.functional_optimizer(torch.optim.SGD, lr=float(b[key][0])) for key in b}
    names = {key: f"{float(b[key][0])}" for key in b}
    optimizer = pax.multi_transform({names[key]: sgd[key] for key in b}, names)
    return optimizer.step(a, a, optimizer.init(a))[0]


def by_lbfgs(a, b):
    optimizer = pax.functional_optimizer(torch.optim.LBFGS, lr=0.1, max_iter=1)
    return optimizer.step(a, b, optimizer.init(a), value_fn=total)[0]


def averaged(a, b):
    return pax.ema_read(pax.ema_step(pax.ema_step(pax.ema_init(a), a, 0.9), b, 0.5))


def mapped_out(a, b):
    """A dict whose results are put on axes that are given in the order of `b`."""
    axes = {key: int(b[key][0] > 10) for key in b}
    return pax.vmap(lambda x: pax.tree_map(lambda y: y * torch.ones(3), x), out_axes=axes)(a)


def mapped_in(a, b):
    axes = ({key: None if b[key][0] > 10 else 0 for key in b},)
    return pax.vmap(lambda x: pax.tree_map(lambda y: y * torch.ones(2), x), axes)(a)


FUNCTIONS = {
    "jvp": lambda a, b: pax.jvp(total, (a,), (b,)),
    "linearize": lambda a, b: pax.linearize(total, a)[1](b),
    "vjp": lambda a, b: pax.vjp(lambda x: pax.tree_scale(2.0, x), a)[1](b),
    "hvp": lambda a, b: pax.hvp(total, (a,), (b,)),
    "grad of two": lambda a, b: pax.grad(lambda x, y: pax.tree_dot(x, y) ** 2, (0, 1))(a, b),
    "custom_vjp": with_rule,
    "custom_jvp": with_tangent,
    "vmap, in_axes": mapped_in,
    "vmap, out_axes": mapped_out,
    "step": stepped,
    "compute_update": updated,
    "LBFGS": by_lbfgs,
    "multi_transform": labelled,
    "ema": averaged,
    "running_avg_step": lambda a, b: pax.running_avg_step(a, b, 3),
    "jit": lambda a, b: pax.jit(pax.tree_subtract, fullgraph=False)(a, b),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_trees_are_paired_by_key(name, kind):
    keys = KEYS[kind]
    for first, second in [(keys, keys[::-1]), (keys[::-1], keys), (keys, keys[1:] + keys[:1])]:
        function, a = FUNCTIONS[name], tree(first, 1.0)
        right, got = function(a, tree(first, 10.0)), function(a, tree(second, 10.0))
        assert not pax.tree_diff(right, got)
        if name == "jit":
            break


def test_equal_dicts_are_one_program():
    runs = []

    @pax.jit
    def f(x):
        runs.append(1)
        return total(x)

    keys = KEYS["members"]
    results = [f(tree(order, 1.0)) for order in itertools.permutations(keys)]
    assert len(set(map(float, results))) == 1
    assert len(runs) == 1
