"""`torch.compile(fullgraph=True)` of optimizers, schedules, random numbers, rules and loops: one graph each.

Cases of one kind are one function, which is compiled once.
"""

import pytest
import torch

import pax_torch as pax
import pax_tree as pt
from pax_torch import lax, random, schedule

OLD = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13)
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),
    pytest.mark.skipif(OLD, reason="needs the compiler of PyTorch 2.13"),
]

X = torch.tensor([1.0, 2.0, 3.0])
P = {"w": torch.arange(6.0).reshape(2, 3) / 5, "b": torch.ones(1, 3)}
G = pt.tree_map(lambda x: x * 0.3 - 0.2, P)
THREE = torch.tensor(3)
KEY = random.key(0)


def check(f, *args):
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph

    torch.compiler.reset()
    expected = f(*args)
    found = torch.compile(f, backend=backend, fullgraph=True)(*args)
    assert len(graphs) <= 1
    torch.testing.assert_close(found, expected, check_stride=False)


def steps(name, **kwargs):
    optimizer = pax.functional_optimizer(getattr(torch.optim, name), **kwargs)

    def train(params, grads):
        state = optimizer.init(params)
        for lr in (0.01, 0.02):
            params, state = optimizer.step(params, grads, state, lr=lr)
        return params

    return train


NAMES = [
    each
    for each in ("ASGD", "Adadelta", "Adafactor", "Adagrad", "AdamW", "Adamax", "Muon", "RAdam", "Rprop")
    if hasattr(torch.optim, each)
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_optimizers(name):
    check(steps(name), {"w": P["w"]}, {"w": G["w"]})


def test_ways_to_use_optimizers():
    nesterov = steps("SGD", momentum=0.9, nesterov=True, weight_decay=0.1)
    adam = pax.functional_optimizer(torch.optim.Adam, amsgrad=True, maximize=True)
    labelled = pax.multi_transform({"a": adam, "b": adam}, {"w": "a", "b": "b"})

    def train(p, g, lr):
        state = pax.ema_step(pax.ema_init(p), p, 0.9)
        return (
            nesterov(p, g),
            pax.vmap(lambda p, g: adam.step(p, g, adam.init(p))[0])(P["w"], g["w"]),
            labelled.step(p, pax.clip_by_global_norm(g, 0.1)[0], labelled.init(p))[0],
            adam.step(p, g, adam.init(p), lr=lr)[0],
            pax.ema_read(pax.ema_step(state, g, 0.9)),
        )

    check(train, P, G, torch.tensor(0.1))


SCHEDULES = [
    schedule.cosine(0.1, 10),
    schedule.exponential(0.1, 0.9),
    schedule.join([schedule.linear(0.0, 0.1, 3), schedule.cosine(0.1, 10)], [3]),
    schedule.multistep_lr(0.1, [2, 4]),
    schedule.one_cycle(0.1, 10),
    schedule.step_lr(0.1, 2),
    schedule.warmup_cosine(0.0, 0.1, 3, 10),
    pax.functional_schedule(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda i: 0.9**i),
    pax.functional_schedule(torch.optim.lr_scheduler.MultiplicativeLR, lr_lambda=lambda i: 0.9),
]


@pytest.mark.parametrize("step", [3, THREE], ids=["number", "tensor"])
def test_schedules(step):
    chosen = SCHEDULES if isinstance(step, int) else SCHEDULES[:-1]  # the last is no formula
    check(lambda x, i: [each(i) * x for each in chosen], X, step)


DRAWS = {
    "of uniform numbers": lambda k: [
        random.normal(k, (3,)),
        random.categorical(k, X),
        pax.vmap(lambda k: random.uniform(k, (2,)))(random.split(k, 3)),
    ],
    "by rejection": lambda k: random.gamma(k, 2.0, (2,)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_random_numbers(name):
    check(DRAWS[name], KEY)


LOOPS = {
    "while_loop": lambda x: lax.while_loop(lambda c: c.sum() < 100, lambda c: c * 2 + x, x),
    "while_loop of a number": lambda x: lax.while_loop(
        lambda c: c[1] < 3, lambda c: (c[0] * 1.5, c[1] + 1.0), (x, 0)
    ),
    "fori_loop of unknown length": lambda x: lax.fori_loop(
        0, (x > 1.5).sum(), lambda i, c: {"c": c["c"] * 2 + i}, {"c": x}
    ),
    "fori_loop grad": pax.grad(lambda x: lax.fori_loop(0, 3, lambda i, c: c * x, x).sum()),
    "cond of trees": lambda x: lax.cond(
        x.sum() > 0, lambda t: {"a": t["a"] * 2}, lambda t: {"a": -t["a"]}, {"a": x}
    ),
    "switch in vmap": pax.vmap(
        lambda i, x: lax.switch(i.long(), [torch.sin, torch.cos, torch.exp], x)
    ),
    "scan backwards": lambda x: lax.scan(lambda c, y: (c * y, c), 1.0, x, reverse=True),
    "map in batches": lambda x: lax.map(lambda y: y * 2, x, batch_size=2),
    "associative_scan": lambda x: lax.associative_scan(torch.add, P["w"] * x, reverse=True, axis=1),
}


@pytest.mark.parametrize("name", LOOPS)
def test_control_flow(name):
    check(LOOPS[name], *[X] * (2 if name == "switch in vmap" else 1))


@pytest.mark.parametrize("derivative", [pax.jacrev, pax.jacfwd, pax.hessian])
def test_derivatives_in_chunks(derivative):
    f = (lambda x: (x**3).sum()) if derivative is pax.hessian else (lambda x: {"y": x**3})
    check(derivative(f, chunk_size=2), X)


def test_rules():
    sine = pax.custom_jvp(torch.sin)
    sine.defjvp(lambda p, t: (sine(*p), 10 * t[0]))
    square = pax.custom_vjp(lambda x: x**2)
    square.defvjp(lambda x: (x**2, x), lambda x, g: (g * x,))
    check(lambda x: (sine(x), square(x), pax.vmap(sine)(x)), X)
    for f in (sine, square):
        with pytest.raises(Exception, match="does not look into the rule of a custom_"):
            torch.compile(pax.grad(lambda x, f=f: f(x).sum()), backend="eager", fullgraph=True)(X)


def test_structures():
    def f(t):
        structure = pt.tree_structure(t)
        doubled = structure.walk(
            lambda nodes, data: [data, *nodes], lambda x: x * 2, pt.tree_leaves(t)
        )
        known = hash(structure) == hash(pt.tree_structure(t))
        return [pt.keystr(path) for path in structure.paths()], doubled, known

    tree = {"a": X, "b": [X * 2, (X,), None]}
    found = torch.compile(f, backend="eager", fullgraph=True)(tree)
    (paths, doubled, known), (names, expected, one) = found, f(tree)
    assert paths == names
    assert known == one
    torch.testing.assert_close(pt.tree_leaves(doubled[1:]), pt.tree_leaves(expected[1:]))
