"""`torch.compile(fullgraph=True)` of pax_torch and pax_tree: one graph, no warning, the same numbers."""

import collections
import dataclasses
import operator
import time

import pytest
import torch

import pax_torch as pax
import pax_tree as pt

OLD = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13)
pytestmark = [
    # What PyTorch warns of when it loads its own decompositions for forward mode.
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),
    # The compiler of an older PyTorch refuses some of the code here, but what it takes must be right.
    pytest.mark.xfail(
        OLD,
        raises=torch._dynamo.exc.TorchDynamoException if OLD else None,
        reason="needs the compiler of PyTorch 2.13",
        strict=False,
    ),
]

X = torch.tensor([1.0, 2.0, 3.0])
DATA = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.0, -0.5], [2.0, 3.0, 1.0], [0.1, 0.2, 0.3]])


@pt.register_pytree_node_class
class Pair:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def tree_flatten(self):
        return (self.x, self.y), "pair"

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children)


@pt.register_pytree_with_keys_class
class Named:
    def __init__(self, content):
        self.content = content

    def tree_flatten_with_keys(self):
        return ((pt.GetAttrKey("content"), self.content),), None

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children)


@pt.register_dataclass
@dataclasses.dataclass
class Layer:
    weight: torch.Tensor
    name: str = dataclasses.field(metadata={"static": True})


class Foreign:
    """A node that only PyTorch was told of."""

    def __init__(self, content):
        self.content = content


torch.utils._pytree.register_pytree_node(
    Foreign, lambda node: ([node.content], None), lambda children, _: Foreign(*children)
)
Point = collections.namedtuple("Point", "x y")
PLAIN = {"b": X, "a": [X * 2, (X + 1, None)], "point": Point(X, X * 5)}
EVERY = {
    **PLAIN,
    "ordered": collections.OrderedDict(z=X, y=X * 3),
    "default": collections.defaultdict(list, {"k": X}),
    "deque": collections.deque([X, X * 2]),
    "pair": Pair(X, [X * 7]),
    "named": Named(X),
    "layer": Layer(X, "dense"),
    "foreign": Foreign(X),
}
EVERY_NODE = {name: node for name, node in EVERY.items() if name != "b"}
STRUCTURE = pt.tree_structure({"b": 1, "a": [2, None, (3,)]})

torch.manual_seed(0)
NET = torch.nn.Sequential(
    torch.nn.Linear(3, 4, bias=False),
    torch.nn.BatchNorm1d(4),
    torch.nn.Tanh(),
    torch.nn.Linear(4, 1),
)
FORWARD, PARAMS, BUFFERS = pax.functional_module(NET), pax.get_params(NET), pax.get_buffers(NET)


def cubes(x):
    return (x**3).sum()


def loss(params, buffers, x):
    out, buffers = FORWARD(params, x, buffers=buffers, is_training=True)
    return (out**2).mean(), buffers


def optimized(optimizer):
    def train(params, buffers, x):
        state = optimizer.init(params)
        (_, buffers), grads = pax.value_and_grad(loss, has_aux=True)(params, buffers, x)
        params, state = optimizer.step(params, grads, state, lr=0.01)
        return params, state, buffers

    return train


OPTIMIZERS = {
    name: optimized(pax.functional_optimizer(getattr(torch.optim, name)))
    for name in ("SGD", "Adam", "NAdam", "RMSprop")
}
TRANSFORMS = {
    "grad": (pax.grad(cubes), X),
    "grad inside": (lambda x: pax.grad(cubes)(x) * 2, X),
    "grad of a tree": (pax.grad(lambda p: (p["w"] * p["b"]).sum()), {"w": X, "b": X * 2}),
    "grad argnums": (pax.grad(lambda a, b: (a * b).sum(), (0, 1)), X, X * 2),
    "grad has_aux": (pax.grad(lambda x: ((x * x).sum(), {"n": [x + 1]}), has_aux=True), X),
    "grad of grad": (pax.grad(lambda x: pax.grad(cubes)(x).sum()), X),
    "grad of a number": (pax.grad(lambda x: x**2), 3.0),
    "grad allow_int": (
        pax.grad(lambda t: (t["x"] * t["i"]).sum(), allow_int=True),
        {"x": X, "i": torch.tensor([1, 2, 3])},
    ),
    "grad holomorphic": (pax.grad(lambda z: (z * z).sum(), holomorphic=True), X * (1 + 2j)),
    "grad unused": (pax.grad(lambda p: p["a"].sum()), {"a": X, "b": X}),
    "grad of what requires grad": (pax.grad(cubes), X.clone().requires_grad_()),
    "value_and_grad": (pax.value_and_grad(cubes), X),
    "vmap": (pax.vmap(lambda x: {"y": x**3}), X),
    "vmap axes": (pax.vmap(lambda x, w: [x @ w], (1, None), [0]), DATA, torch.ones(4)),
    "vmap of grad": (pax.vmap(pax.grad(lambda x: x**3)), X),
    "vmap in chunks": (pax.vmap(lambda x: x**3, chunk_size=2), X),
    "vmap keywords": (lambda x: pax.vmap(lambda a, *, b: a * b)(x, b=x), X),
    "jvp": (lambda x: pax.jvp(lambda t: {"y": t["x"] ** 2}, ({"x": x},), ({"x": x},)), X),
    "jvp of grad": (lambda x: pax.jvp(pax.grad(cubes), (x,), (x,)), X),
    "vjp": (lambda x: pax.vjp(lambda x: x**2, x)[1](x), X),
    "linearize": (lambda x: pax.linearize(lambda x: x**2, x)[1](x), X),
    "jacrev": (pax.jacrev(lambda x: x**2), X),
    "jacfwd": (pax.jacfwd(lambda x: x**2), X),
    "hessian": (pax.hessian(cubes), X),
    "hvp": (lambda x: pax.hvp(cubes, (x,), (x,)), X),
    "stop_gradient": (pax.grad(lambda x: (x * pax.stop_gradient(x)).sum()), X),
    "checkpoint": (pax.grad(pax.checkpoint(cubes)), X),
    "jit": (lambda x: pax.jit(pax.grad(cubes), backend="eager")(x), X),
    "eval_shape": (lambda x: x * pax.eval_shape(lambda y: y[:, None], x).ndim, X),
    "functional_module": (
        lambda p, b, x: FORWARD(p, x, buffers=b, is_training=True),
        PARAMS, BUFFERS, DATA,
    ),
    "functional_module in evaluation": (
        lambda p, b, x: FORWARD(p, x, buffers=b, is_training=False),
        PARAMS, BUFFERS, DATA,
    ),
    "functional_module grad": (
        pax.value_and_grad(loss, has_aux=True),
        PARAMS, BUFFERS, DATA,
    ),
    "functional_module in vmap": (
        pax.vmap(
            lambda x: FORWARD(PARAMS, x, buffers=BUFFERS, is_training=True)
        ),
        DATA[:, None] * torch.ones(2, 1),
    ),
    "cond": (lambda x: pax.lax.cond(x.sum() > 3, lambda: x * 2, lambda: -x), X),
    "cond in vmap": (pax.vmap(lambda x: pax.lax.cond(x > 2, lambda: x * 2, lambda: -x)), X),
    "switch of a number": (lambda x: pax.lax.switch(4, [lambda: x * 2, lambda: -x]), X),
    "scan": (lambda x: pax.lax.scan(lambda c, y: (c + y, c * y), 0.0, x), X),
    "scan grad": (pax.grad(lambda x: pax.lax.scan(lambda c, y: (c * y, c), 1.0, x)[0]), X),
    "fori_loop": (lambda x: pax.lax.fori_loop(0, 3, lambda i, c: c * i, x), X),
    "map": (lambda x: pax.lax.map(lambda y: y * 2, x), X),
    "associative_scan": (lambda x: pax.lax.associative_scan(torch.mul, x), X),
    "tree_clone": (pax.tree_clone, PLAIN),
    "tree_cast": (lambda t: pax.tree_cast(t, torch.float64), PLAIN),
    "tree_to": (lambda t: pax.tree_to(t, "cpu"), PLAIN),
    "running_avg_step": (lambda t: pax.running_avg_step(t, t, 3), PLAIN),
}  # fmt: skip
TREES = {
    "tree_map": (lambda t: pt.tree_map(lambda x: x * 2, t), EVERY),
    "tree_map of two": (lambda t: pt.tree_map(lambda x, y: x * y, t, t), EVERY),
    "tree_map of mixed keys": (lambda t: pt.tree_map(lambda x: x * 2, t), {1: X, 0: X}),
    "tree_map is_leaf": (
        lambda t: pt.tree_map(
            lambda x: x if isinstance(x, tuple) else x * 2, t, is_leaf=lambda n: type(n) is tuple
        ),
        {"a": (X,), "b": [X]},
    ),
    "tree_map none_is_leaf": (
        lambda t: pt.tree_map(lambda x: 1 if x is None else x * 2, t, none_is_leaf=True),
        [X, None],
    ),
    "tree_map broadcast": (
        lambda x: pt.tree_map(lambda x, s: x * s, {"a": [x, x]}, {"a": 2}, broadcast=True),
        X,
    ),
    "tree_map_with_path": (
        lambda t: pt.tree_map_with_path(lambda p, x: x * 2 if pt.keystr(p) == "['b']" else x, t),
        EVERY,
    ),
    "tree_leaves": (pt.tree_leaves, EVERY),
    "tree_leaves_with_path": (pt.tree_leaves_with_path, EVERY),
    "tree_flatten": (
        lambda t: (lambda pair: pt.tree_unflatten(pair[1], [x + 1 for x in pair[0]]))(
            pt.tree_flatten(t)
        ),
        EVERY,
    ),
    "tree_flatten_with_path": (lambda t: pt.tree_flatten_with_path(t)[0], PLAIN),
    "tree_structure": (lambda t: (pt.tree_structure(t), pt.tree_leaves(t)), PLAIN),
    "tree_unflatten of a structure made before": (
        lambda x: pt.tree_unflatten(STRUCTURE, [x, x * 2, x * 3]),
        X,
    ),
    "a structure made before": (
        lambda x: x * (pt.tree_structure({"a": [x, None, (x,)], "b": x}) == STRUCTURE),
        X,
    ),
    "tree_add": (lambda t: pt.tree_add(t, t, 0.5), EVERY),
    "tree_subtract": (lambda t: pt.tree_subtract(t, t), EVERY),
    "tree_neg": (pt.tree_neg, EVERY),
    "tree_scale": (lambda t: pt.tree_scale(0.5, t), EVERY),
    "tree_zeros_like": (pt.tree_zeros_like, EVERY),
    "tree_sum": (pt.tree_sum, EVERY),
    "tree_dot": (lambda t: pt.tree_dot(t, t), EVERY),
    "tree_norm": (pt.tree_norm, EVERY),
    "tree_norm_sq": (pt.tree_norm_sq, EVERY),
    "tree_numel": (lambda t: pt.tree_numel(t) * X, EVERY),
    "tree_reduce": (lambda t: pt.tree_reduce(operator.add, t), EVERY),
    "tree_all": (lambda x: x * pt.tree_all({"a": True, "b": [1]}), X),
    "tree_any": (lambda x: x * pt.tree_any({"a": False, "b": [1]}), X),
    "tree_ravel": (lambda t: (lambda pair: pair[1](pair[0] * 2))(pt.tree_ravel(t)), EVERY),
    "tree_broadcast": (lambda x: pt.tree_broadcast({"a": x, "b": x}, {"a": [1, 2], "b": 3}), X),
    "broadcast_prefix": (lambda x: pt.broadcast_prefix({"a": x, "b": 1}, {"a": [1, 2], "b": 3}), X),
    "tree_transpose": (
        lambda x: pt.tree_transpose(
            pt.tree_structure([0, 0]), pt.tree_structure({"a": 0}), [{"a": x}, {"a": x * 2}]
        ),
        X,
    ),
    "tree_iter": (lambda t: list(pt.tree_iter(t)), EVERY),
    "all_leaves": (lambda x: x * pt.all_leaves([x, x]), X),
    "tree_get_at": (lambda t: pt.tree_get_at(t, "['a'][0]"), PLAIN),
    "tree_replace_at": (lambda t: pt.tree_replace_at(t, ("a", 0), t["b"]), PLAIN),
    "tree_select": (lambda t: pt.tree_select(t, "**.b"), {"a": {"b": X}, "c": X}),
    "tree_mask": (
        lambda t: pt.tree_map(lambda m, x: x * 2 if m else x, pt.tree_mask(t, "b"), t),
        PLAIN,
    ),
    "treedef_tuple": (
        lambda t: pt.treedef_tuple([pt.tree_structure(t)] * 2).unflatten(pt.tree_leaves((t, t))),
        PLAIN,
    ),
    "treedef_children": (
        lambda t: [c.num_leaves for c in pt.treedef_children(pt.tree_structure(t))] + [t["b"]],
        PLAIN,
    ),
    "tree_accessors": (
        lambda t: [(a(t) * 2, a.codify("t"), pt.keystr(a)) for a in pt.tree_accessors(t)],
        EVERY,
    ),
    "tree_leaves_with_path of a return type": (
        lambda x: [(pt.keystr(p), v) for p, v in pt.tree_leaves_with_path(torch.max(x, 0))],
        DATA,
    ),
    "flatten_one_level": (lambda t: [pt.flatten_one_level(v) for v in t.values()], EVERY_NODE),
    "is_tree_node": (lambda t: [pt.is_tree_node(type(v)) for v in t.values()], EVERY),
    "tree.map": (lambda t: pt.tree.map(lambda x: x * 2, t), EVERY),
}
CASES = {**TRANSFORMS, **TREES}


def assert_same(ours, theirs):
    (leaves, treedef), (expected, structure) = (
        pt.tree_flatten(tree, none_is_leaf=True) for tree in (ours, theirs)
    )
    assert treedef == structure
    for leaf, other in zip(leaves, expected, strict=True):
        if isinstance(other, torch.Tensor):
            torch.testing.assert_close(leaf, other)
            # An older compiler does not see how deep derivatives are nested: their graph is kept.
            assert leaf.requires_grad == other.requires_grad or OLD
        else:
            assert leaf == other


def check(f, args):
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph

    torch.compiler.reset()
    expected = f(*args)
    assert_same(torch.compile(f, backend=backend, fullgraph=True)(*args), expected)
    assert len(graphs) <= 1  # none where nothing is computed


@pytest.mark.parametrize("name", CASES)
def test_one_graph_and_the_same_numbers(name):
    f, *args = CASES[name]
    check(f, args)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_steps(name):
    check(OPTIMIZERS[name], (PARAMS, BUFFERS, DATA))


def test_through_the_whole_compiler():
    train = OPTIMIZERS["SGD"]
    compiled = torch.compile(train, backend="aot_eager", fullgraph=True)
    assert_same(compiled(PARAMS, BUFFERS, DATA), train(PARAMS, BUFFERS, DATA))


def test_derivatives_around_a_compiled_derivative():
    """The inner derivative keeps its graph where an outer one runs, and only there."""
    inner = torch.compile(pax.grad(cubes), backend="aot_eager", fullgraph=True)
    for _ in range(2):
        torch.testing.assert_close(inner(X), 3 * X**2)
        torch.testing.assert_close(pax.grad(lambda x: inner(x).sum())(X), 6 * X)


def test_parts_in_python_do_not_keep_later_functions_from_the_compiler():
    def f(x):
        return pax.grad(cubes)(x) if x.sum() > 0 else x

    assert_same(pax.jit(f, fullgraph=False, backend="eager")(X), f(X))
    check(*(lambda f, *args: (f, args))(*CASES["grad"]))
    check(*(lambda f, *args: (f, args))(*CASES["tree_map"]))


def test_a_class_that_is_registered_later():
    class Late(Pair):
        pass

    pt.register_pytree_node_class(Late)
    assert_same(
        torch.compile(lambda t: pt.tree_map(lambda x: x * 2, t), backend="eager", fullgraph=True)(
            Late(X, X)
        ),
        Late(X * 2, X * 2),
    )


def test_a_structure_outlives_the_part_that_made_it():
    def f(x):
        leaves, treedef = pt.tree_flatten({"a": [x, 2 * x], "b": (x,)})
        torch._dynamo.graph_break()
        return pt.tree_unflatten(treedef, [leaf + 1 for leaf in leaves])

    x = torch.ones(2)
    found = torch.compile(f, backend="eager")(x)
    assert pt.tree_structure(found) == pt.tree_structure(f(x))
    assert torch.equal(found["a"][1], torch.full((2,), 3.0))


def refused(tree, message):
    with pytest.raises(Exception, match=message):
        torch.compile(pt.tree_leaves, backend="eager", fullgraph=True)(tree)


def test_what_the_compiler_cannot_look_into_is_said():
    refused([pt.Partial(torch.add, X)], "takes a pax_tree.Partial for a functools.partial")
    refused([time.gmtime(0)], "cannot look into objects of struct_time")


def test_a_class_that_was_unregistered_is_a_leaf():
    class Once(Pair):
        pass

    pt.register_pytree_node_class(Once)
    assert len(pt.tree_leaves(Once(X, X))) == 2
    pt.unregister_pytree_node(Once)
    count = torch.compile(lambda t: len(pt.tree_leaves(t)) * t.x, backend="eager", fullgraph=True)
    assert torch.equal(count(Once(X, X)), X)
