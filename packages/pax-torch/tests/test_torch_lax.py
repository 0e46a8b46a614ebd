"""Control flow: what it refuses and in what words, its memory, and values that cannot be read."""

import pytest
import torch
from torch import tensor

import pax_torch as pax
from pax_torch import lax

A = {"a": torch.ones(3)}

REFUSED = {
    "dtype": (
        lambda: lax.scan(lambda c, x: ({"a": c["a"].double()}, None), A, length=2),
        r"scan: init\['a'\] has type float32\[3\], but the carry .*\['a'\] has type float64\[3\]",
    ),
    "shape": (
        lambda: lax.while_loop(lambda c: True, lambda c: {"a": c["a"][:2]}, A),
        r"while_loop: init_val\['a'\] has type float32\[3\], but what body_fun returns\['a'\] has "
        r"type float32\[2\]",
    ),
    "later": (
        lambda: lax.fori_loop(0, 3, lambda i, c: c.double() if i == 2 else c, torch.ones(2)),
        r"fori_loop: init_val has type float32\[2\], but what body_fun returns has type float64",
    ),
    "keys": (
        lambda: lax.scan(lambda c, x: ({"b": c["a"]}, None), A, length=2),
        r"structure of init.*the key 'a', got one with the keys \['b'\]",
    ),
    "deeper": (
        lambda: lax.scan(lambda c, x: ({"a": (c["a"],)}, None), A, length=2),
        r"structure of init.*\['a'\].*type tuple",
    ),
    "nothing to do": (
        lambda: lax.scan(lambda c, x: (c.double(), None), torch.ones(2), length=0),
        r"has type float64",
    ),
    "no pair": (lambda: lax.scan(lambda c, x: c, A, length=2), r"must return a pair \(carry, y\)"),
    "no tensor": (lambda: lax.scan(lambda c, x: (c, x), "a", length=2), r"scan: init: expected"),
    "output": (
        lambda: lax.scan(lambda c, x: (c, "y"), 0, length=2),
        r"scan: the output: expected a tensor",
    ),
    "outputs": (
        lambda: lax.scan(lambda c, x: (c + 1, x if c > 0 else x.double()), 0, torch.ones(2)),
        r"the output has type float64\[\] in one step and float32\[\] in another",
    ),
    "outputs' structure": (
        lambda: lax.scan(lambda c, x: (c + 1, [x] if c > 0 else x), 0, torch.ones(2)),
        r"the outputs of all steps must have one structure",
    ),
    "predicate's shape": (
        lambda: lax.while_loop(lambda c: c > 0, lambda c: c, torch.ones(3)),
        r"what cond_fun returns must be a scalar, of shape \(\), but is a tensor of shape \(3,\)",
    ),
    "predicate's dtype": (
        lambda: lax.while_loop(lambda c: c, lambda c: c, 1.0),
        r"cond_fun must return a boolean scalar, but it returned a tensor .* torch.float32",
    ),
    "predicate's tree": (
        lambda: lax.while_loop(lambda c: [c > 0], lambda c: c, 1.0),
        r"cond_fun must return a boolean scalar, but it returned \[",
    ),
    "choice": (
        lambda: lax.cond(torch.ones(3), lambda: 1, lambda: 2),
        r"cond: the predicate must be a scalar, of shape \(\), but is a tensor of shape \(3,\)",
    ),
    "index": (
        lambda: lax.switch(1.5, [lambda: 1, lambda: 2]),
        r"switch: index must be an integer, got 1.5",
    ),
    "index of bool": (
        lambda: lax.switch(tensor(True), [lambda: 1, lambda: 2]),
        r"switch: index must be an integer, got a tensor of shape \(\) and dtype torch.bool",
    ),
    "branch": (lambda: lax.switch(0, [3]), r"switch expected a callable, got 3"),
    "end": (
        lambda: lax.fori_loop(0, 2.5, lambda i, x: x, 0),
        r"fori_loop: upper must be an integer, got 2.5",
    ),
    "ends": (
        lambda: lax.fori_loop(tensor(0), tensor(2, dtype=torch.int32), lambda i, x: x, 0),
        r"lower and upper must have one dtype, got torch.int64 and torch.int32",
    ),
    "combined": (
        lambda: lax.associative_scan(lambda a, b: (a + b).double(), torch.ones(4)),
        r"what fn returns has type float64\[2\]",
    ),
    "branches": (
        lambda: pax.vmap(lambda n: lax.cond(n > 0, lambda: {"a": n}, lambda: {"b": n}))(A["a"]),
        r"cond: what false_fun returns must have the structure of what true_fun returns",
    ),
    "branches' types": (
        lambda: pax.vmap(lambda n: lax.switch(n, [lambda: {"a": n}, lambda: {"a": n * 1.5}]))(
            torch.arange(3)
        ),
        r"switch: what branch 0 returns\['a'\] has type int64\[\], but what branch 1 "
        r"returns\['a'\] has type float32\[\]",
    ),
}

UNFIT = {
    "lengths": (
        lambda: lax.scan(lambda c, x: (c, x), 0, {"a": torch.ones(3), "b": torch.ones(4)}),
        r"scan: the lengths of xs differ: xs\['a'\] has 3, xs\['b'\] has 4",
    ),
    "length": (
        lambda: lax.scan(lambda c, x: (c, x), 0, torch.ones(3), length=4),
        r"xs has 3, length is 4",
    ),
    "no length": (lambda: lax.scan(lambda c, x: (c, x), 0), r"scan needs a length"),
    "negative": (
        lambda: lax.scan(lambda c, x: (c, x), 0, length=-1),
        r"length must not be negative, got -1",
    ),
    "no axis": (
        lambda: lax.map(lambda x: x, {"a": tensor(3)}),
        r"map: xs\['a'\] has no first axis",
    ),
    "unroll": (
        lambda: lax.scan(lambda c, x: (c, x), 0, length=3, unroll=0),
        r"unroll must be a bool or a positive integer, got 0",
    ),
    "batch_size": (
        lambda: lax.map(lambda x: x, torch.ones(3), batch_size=0),
        r"batch_size must be a positive integer or None, got 0",
    ),
    "no branches": (lambda: lax.switch(0, []), r"switch needs at least one function"),
    "no elements": (lambda: lax.associative_scan(torch.add, []), r"elems has no leaves"),
    "axis": (
        lambda: lax.associative_scan(torch.add, torch.ones(3), axis=1),
        r"elems has no axis 1",
    ),
    "sizes": (
        lambda: lax.associative_scan(lambda a, b: b, {"a": torch.ones(3), "b": torch.ones(4)}),
        r"the sizes along axis 0 differ: elems\['a'\] has 3, elems\['b'\] has 4",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_types_that_are_refused(name):
    call, words = REFUSED[name]
    with pytest.raises(TypeError, match=words):
        call()


@pytest.mark.parametrize("name", UNFIT)
def test_values_that_are_refused(name):
    call, words = UNFIT[name]
    with pytest.raises(ValueError, match=words):
        call()


def saved_elements(length):
    """How many elements a scan keeps for its derivative."""
    kept = []
    xs = torch.ones(length, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x.numel()) or x, lambda x: x
    ):
        carry, _ = lax.scan(lambda c, x: (torch.sin(c * x), None), torch.ones(8), xs)
    carry.sum().backward()
    return sum(kept)


def test_memory_of_the_derivative_grows_with_the_length():
    assert saved_elements(40) < 5 * saved_elements(10)


def test_time_of_the_derivative_grows_with_the_length():
    """The derivative of a slice is no tensor of zeros as long as all slices together."""
    xs = torch.ones(50, 2, requires_grad=True)
    carry, _ = lax.scan(lambda c, x: (c * x, None), torch.ones(2), xs)
    nodes, pending = set(), [carry.grad_fn]
    while pending:
        node = pending.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            pending += [next_node for next_node, _ in node.next_functions]
    assert sum("Unbind" in node.name() for node in nodes) == 1
    assert not any("Select" in node.name() for node in nodes)


def test_only_the_chosen_function_runs():
    ran = []
    branches = [lambda i=i: ran.append(i) or torch.tensor(i) for i in range(3)]
    assert lax.switch(tensor(1), branches) == 1
    assert lax.cond(False, branches[0], branches[2]) == 2
    assert ran == [1, 2]


def test_a_number_takes_the_dtype_that_the_first_step_gives_it():
    total, _ = lax.scan(lambda c, x: (c + x, None), 0, torch.ones(3, dtype=torch.float64))
    assert total.dtype == torch.float64
    with pytest.raises(TypeError, match=r"has type int64\[\]"):
        lax.scan(lambda c, x: (c + x, None), tensor(0), torch.ones(3))


def test_module_parameters_that_the_body_closes_over():
    net = torch.nn.Linear(3, 3)
    forward, params = pax.functional_module(net), pax.get_params(net)

    def loss(params):
        out, _ = lax.scan(
            lambda c, _: (torch.tanh(forward(params, c, is_training=False)[0]), None),
            torch.ones(3),
            length=4,
        )
        return out.sum()

    x = torch.ones(3)
    for _ in range(4):
        x = torch.tanh(net(x))
    x.sum().backward()
    grads = pax.grad(loss)(params)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(grads[name], parameter.grad)


W = torch.tensor([0.1, 0.2, 0.3])
X = torch.tensor([1.0, 2.0, 3.0])


def steps(y):
    """A loop whose number of steps depends on values, and that closes over tensors."""
    return lax.while_loop(lambda s: s[0] < 10 * y, lambda s: (2 * s[0] + y, s[1] + W[0]), (y, 0.0))


def last(body):
    return lambda x: lax.scan(lambda c, y: (body(c, y), c), x, x)


COMPILED = {
    "while_loop": (lambda x: steps(x[0]), 1),
    "while_loop of a tree": (
        lambda x: lax.while_loop(
            lambda s: s["n"].sum() < 10, lambda s: {"n": s["n"] * 2}, {"n": x}
        ),
        1,
    ),
    "while_loop in vmap": (pax.vmap(steps), 1),
    "while_loop in vmap of vmap": (
        lambda x: pax.vmap(lambda z: pax.vmap(lambda y: (steps(y)[0] + z, steps(y)))(x))(x),
        2,
    ),
    "fori_loop of unknown length": (
        lambda x: lax.fori_loop(0, x.sum().long(), lambda i, c: c * W + i, x),
        1,
    ),
    "fori_loop of unknown length in vmap": (
        pax.vmap(lambda n: lax.fori_loop(0, n.long(), lambda i, c: c * 2 + i, n)),
        1,
    ),
    "fori_loop": (lambda x: lax.fori_loop(0, 3, lambda i, c: c * W + i, x), 0),
    "cond": (lambda x: lax.cond(x.sum() > 3, lambda y: y * W, lambda y: -y, x), 1),
    "cond of numbers": (lambda x: lax.cond(x.sum() < 3, lambda: [1], lambda: [x[0]]), 1),
    "cond that is known": (lambda x: lax.cond(True, lambda: x * 2, lambda: -x), 0),
    "cond in while_loop": (
        lambda x: lax.while_loop(
            lambda s: s.sum() < 20,
            lambda s: lax.cond(s[0] > 3, lambda z: z * 2, lambda z: z + W, s),
            x,
        ),
        1,
    ),
    "switch": (
        lambda x: [
            lax.switch(x.sum().long() + i, [lambda y: y * W, lambda y: -y, lambda y: x + y], x)
            for i in (-9, -6, -5, -4, 0)
        ],
        5,
    ),
    "cond in vmap": (pax.vmap(lambda y: lax.cond(y > 2, lambda z: z * 2, lambda z: -z, y)), 0),
    "cond in grad": (
        pax.grad(lambda x: lax.cond(x.sum() > 3, lambda y: y * W, lambda y: -y, x).sum()),
        0,
    ),
    "cond in hessian": (
        pax.hessian(lambda x: lax.cond(x.sum() > 3, lambda y: y**3, lambda y: -y, x).sum()),
        0,
    ),
    "scan": (last(lambda c, y: c * y + W), 0),
    "scan in grad": (pax.grad(lambda x: last(lambda c, y: c * y + x)(x)[0].sum()), 0),
    "scan in vmap": (lambda x: pax.vmap(lambda y: last(lambda c, z: c + z * y)(x))(x), 0),
    "associative_scan": (lambda x: lax.associative_scan(torch.mul, x), 0),
}


@pytest.mark.parametrize("name", COMPILED)
def test_compiled(name):
    f, operators = COMPILED[name]
    graphs = []
    compiled = pax.jit(f, backend=lambda graph, _: graphs.append(graph) or graph)
    found, expected = compiled(X), f(X)
    assert pax.tree_structure(found) == pax.tree_structure(expected)
    for ours, theirs in zip(pax.tree_leaves(found), pax.tree_leaves(expected), strict=True):
        torch.testing.assert_close(ours, theirs)
    kinds = (torch.ops.higher_order.cond, torch.ops.higher_order.while_loop)
    assert sum(node.target in kinds for node in graphs[0].graph.nodes) == operators


def test_derivatives_of_compiled_functions():
    f = lambda x: lax.cond(x.sum() > 3, lambda y: y * W, lambda y: -y, x).sum()  # noqa: E731
    torch.testing.assert_close(pax.grad(pax.jit(f, backend="eager"))(X), W)
    with pytest.raises(
        TypeError, match=r"while_loop in jit and torch.compile is one operator.* no derivative"
    ):
        pax.jit(pax.grad(lambda x: steps(x[0])[0]), backend="eager")(X)


def test_shapes_alone():
    like = pax.eval_shape(lambda x: steps(x[0]), X)
    assert [x.shape for x in like] == [(), ()]
    assert pax.eval_shape(last(lambda c, y: c * y), X)[1].shape == (3, 3)


def test_branches_that_are_not_chosen_give_no_nan_to_derivatives():
    def inverse(x):
        return lax.cond(x > 0.5, lambda x: 1 / x, lambda x: 3 * x, x)

    points = tensor([0.0, 1.0, 2.0])
    expected = torch.stack([pax.grad(inverse)(x) for x in points])
    summed = pax.grad(lambda x: pax.vmap(inverse)(x).sum())
    for derivative in (pax.vmap(pax.grad(inverse)), summed, pax.vmap(pax.jacfwd(inverse))):
        torch.testing.assert_close(derivative(points), expected)
    second = pax.vmap(pax.grad(pax.grad(inverse)))(points)
    torch.testing.assert_close(second, tensor([0.0, 2.0, 0.25]))


def test_steps_after_the_end_give_no_nan_to_derivatives():
    def shrink(x):
        return lax.while_loop(lambda x: x > 0.5, lambda x: torch.sqrt(x - 0.5) * 0.7, x)

    points = tensor([0.5, 0.9, 5.0])
    expected = torch.stack([pax.grad(shrink)(x) for x in points])
    torch.testing.assert_close(pax.vmap(pax.grad(shrink))(points), expected)


def test_the_integer_of_a_fori_loop_is_an_index_in_jit_too():
    rows = torch.arange(12.0).reshape(4, 3)

    def total(rows):
        return lax.fori_loop(0, 4, lambda i, sum: sum + rows[i], torch.zeros(3))

    expected = rows.sum(0)
    torch.testing.assert_close(pax.jit(total, backend="eager")(rows), expected)
    compiled = torch.compile(total, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(rows), expected)
