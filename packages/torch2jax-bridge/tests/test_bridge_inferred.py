"""How results are found out: by fake tensors, by a run of examples, as given; and what they may be."""

import collections
import copy
import dataclasses
import gc
import io
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torch2jax_bridge import JaxModule, ShapeInferenceError, Size, original_exception, torch2jax

X = jnp.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])


# A run of the examples ----------------------------------------------------------------------------


def branches(x):
    return x * 2 if x.sum() > 0 else x[:1]


def sampled(x):
    return torch.distributions.Normal(x, x.abs() + 1).log_prob(x)  # validates its arguments


def reads(x, *, n):
    return {"a": x * x.max().item(), "b": torch.nonzero(torch.ones(n)).to(x.dtype)}


@pytest.mark.parametrize("function", [branches, sampled, lambda x: reads(x, n=2)])
@pytest.mark.parametrize("kind", [torch.as_tensor, jnp.asarray, np.asarray])
def test_bridge_examples_are_run(function, kind):
    with pytest.raises(ShapeInferenceError, match='or examples and infer="run"'):
        torch2jax(branches)(X)
    x = kind(np.asarray(X).copy())
    wrapped = torch2jax(function, x, infer="run")
    expected = function(torch.tensor(np.asarray(X)))
    out = jax.jit(wrapped)(X)
    jax.tree.map(np.testing.assert_array_equal, out, jax.tree.map(lambda t: t.numpy(), expected))
    grad = jax.jit(jax.grad(lambda x: sum(v.sum() for v in jax.tree.leaves(wrapped(x)))))(X)
    assert grad.shape == X.shape


def test_bridge_examples_run_once_and_leave_no_trace():
    runs = []
    wrapped = torch2jax(lambda x: runs.append(float(x.sum())) or x * 2, X, infer="run")
    assert runs == []
    wrapped(X).block_until_ready()
    assert runs == [15.0]


def test_bridge_run_needs_values():
    wrapped = torch2jax(branches, X, infer="run")
    with pytest.raises(ShapeInferenceError, match=r"was not run for such arguments.*float32\[4\]"):
        jax.jit(wrapped)(jnp.ones(4))
    np.testing.assert_array_equal(wrapped(jnp.ones(4)), [2.0] * 4)  # its own example
    np.testing.assert_array_equal(jax.jit(wrapped)(jnp.ones(4)), [2.0] * 4)
    with pytest.raises(ShapeInferenceError, match="have no values"):
        torch2jax(branches, jax.ShapeDtypeStruct((2,), jnp.float32), infer="run")
    with pytest.raises(ShapeInferenceError, match=r"ZeroDivisionError.*It was run on the examples"):
        torch2jax(lambda x: x / (1 // int(x[0])), jnp.zeros(1), infer="run")
    with pytest.raises(ValueError, match="infer is 'guess', expected one of 'fake', 'run'"):
        torch2jax(torch.sin, infer="guess")
    with pytest.raises(ValueError, match="were both given"):
        torch2jax(torch.sin, infer="run", output_shapes=X)


class Reads(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        out = self.norm(self.linear(x)) * float(x.max())
        return self.drop(out), (out if out.sum() > -1e9 else out[:1])


@pytest.mark.parametrize(
    "kwargs",
    [
        {"infer": "run"},
        {"output_shapes": (Size([2, 2]), jax.ShapeDtypeStruct((2, 2), jnp.float32))},
        {"output_shapes": [Size([2, 2]), Size([2, 2])]},
    ],
    ids=["run", "given", "list"],
)
def test_bridge_modules_that_read_values(kwargs):
    torch.manual_seed(0)
    module = Reads()
    examples = (X,) if "infer" in kwargs else ()
    apply, params, buffers = torch2jax(module, *examples, **kwargs)
    copied = copy.deepcopy(module)
    for training in (False, True):
        (_, out), new = jax.jit(lambda p, b, on=training: apply(p, X, buffers=b, is_training=on))(
            params, buffers
        )
        expected = copied.train(training)(torch.tensor(np.asarray(X)))[1].detach()
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new["norm.running_mean"], copied.norm.running_mean, rtol=1e-5)
    drawn = jax.jit(lambda key: apply(params, X, buffers=buffers, rng=key)[0][0])
    np.testing.assert_array_equal(drawn(jax.random.key(1)), drawn(jax.random.key(1)))


def test_bridge_wrong_shapes_given_for_a_module():
    apply, params, _ = torch2jax(nn.Linear(3, 2), output_shapes=Size([2, 3]))
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"shape \(2, 2\), but the shape \(2, 3\)"):
        jax.block_until_ready(apply(params, X))


@pytest.mark.parametrize("given", [list, tuple])
@pytest.mark.parametrize("kind", [list, tuple, lambda x: {"a": list(x)}])
def test_bridge_lists_for_tuples_in_output_shapes(given, kind):
    shapes = given([Size([2, 3]), Size([])])
    nested = {"a": shapes} if kind([]) == {"a": []} else shapes
    out = jax.jit(torch2jax(lambda x: kind((x, x.sum())), output_shapes=nested))(X)
    given_tree = jax.tree.structure(nested, is_leaf=lambda leaf: isinstance(leaf, Size))
    assert jax.tree.structure(out) == given_tree
    np.testing.assert_array_equal(jax.tree.leaves(out)[0], X)


# Integers -----------------------------------------------------------------------------------------

LABELS = jnp.array([2, 0])
WANT_INT64 = {
    "one_hot": lambda x, i: F.one_hot(i, 3) * x,
    "cross_entropy": F.cross_entropy,
    "nll_loss": lambda x, i: F.nll_loss(x.log_softmax(1), i, reduction="none"),
    "bincount weights": lambda x, i: torch.take(x, i) * 2,
}


@pytest.mark.parametrize("name", WANT_INT64)
def test_bridge_integers_are_widened_and_named_where_they_are_wanted(name):
    function = WANT_INT64[name]
    with pytest.raises(
        (ShapeInferenceError, jax.errors.JaxRuntimeError), match="widen_integers=Tr"
    ):
        jax.block_until_ready(torch2jax(function)(X, LABELS))
    wrapped = jax.jit(torch2jax(function, widen_integers=True))
    expected = function(torch.tensor(np.asarray(X)), torch.tensor([2, 0]))
    np.testing.assert_allclose(wrapped(X, LABELS), expected.numpy(), rtol=1e-6)
    grad = jax.jit(jax.grad(lambda x: wrapped(x, LABELS).sum()))(X)
    x = torch.tensor(np.asarray(X), requires_grad=True)
    function(x, torch.tensor([2, 0])).sum().backward()
    np.testing.assert_allclose(grad, x.grad, rtol=1e-6, atol=1e-7)


def test_bridge_widened_integers_come_back_as_jax_has_them():
    seen = []

    def function(i, b, u, f):
        seen.extend((t.dtype) for t in (i, b, u, f))
        return i + 1, f * i

    args = jnp.arange(3), jnp.ones(3, jnp.int8), jnp.ones(3, jnp.uint32), jnp.ones(3)
    out = torch2jax(function, widen_integers=True)(*args)
    jax.block_until_ready(out)
    assert seen == [torch.int64, torch.int8, torch.uint32, torch.float32]
    assert [x.dtype for x in out] == [jnp.int32, jnp.float32]
    rows = jax.vmap(torch2jax(F.one_hot, widen_integers=True), (0, None))(jnp.eye(2, dtype=int), 3)
    assert rows.shape == (2, 2, 3)


def test_bridge_a_module_of_labels():
    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x, labels=None):
            return F.cross_entropy(self.linear(x), labels)

    module = Loss()
    apply, params, _ = torch2jax(module, widen_integers=True)
    value = jax.jit(lambda p: apply(p, X, labels=LABELS)[0])(params)
    np.testing.assert_allclose(
        value, module(torch.tensor(np.asarray(X)), torch.tensor([2, 0])).item(), rtol=1e-6
    )


# Classes that only PyTorch knows -------------------------------------------------------------------

RETURN_TYPES = {
    "topk": lambda x: torch.topk(x, 2),
    "max": lambda x: torch.max(x, 1),
    "sort": lambda x: torch.sort(x),
    "mode": lambda x: torch.mode(x),
    "svd": lambda x: torch.linalg.svd(x),
    "eigh": lambda x: torch.linalg.eigh(x @ x.T),
    "slogdet": lambda x: torch.linalg.slogdet(x @ x.T),
    "qr": lambda x: torch.linalg.qr(x),
    "lstsq": lambda x: {"in a dict": torch.linalg.lu_factor(x @ x.T)},
}


def equal(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", RETURN_TYPES)
def test_bridge_return_types_are_named_tuples(name):
    function, wrapped = RETURN_TYPES[name], torch2jax(RETURN_TYPES[name])
    theirs = function(torch.tensor(np.asarray(X)))
    fields = next(iter(theirs.values())) if isinstance(theirs, dict) else theirs
    plain = [t.numpy() for t in fields]
    for out in (wrapped(X), jax.jit(wrapped)(X)):
        mine = next(iter(out.values())) if isinstance(out, dict) else out
        assert type(mine).__name__ == type(fields).__name__
        assert [getattr(mine, n) is v for n, v in zip(mine._fields, mine, strict=True)]
        assert [n for n in mine._fields if getattr(fields, n) is None] == []
        equal(out, plain)
        assert type(pickle.loads(pickle.dumps(mine))) is type(mine)
    equal(jax.tree.map(lambda a: a[0], jax.vmap(wrapped)(X[None])), plain)
    assert jax.tree.map(lambda a: a.shape, jax.eval_shape(wrapped, X)) == jax.tree.map(
        lambda a: a.shape, out
    )


class ModelOutput(collections.OrderedDict):
    pass


class Cache:
    def __init__(self, keys):
        self.keys = keys


torch.utils._pytree.register_pytree_node(
    ModelOutput,
    lambda x: (list(x.values()), list(x.keys())),
    lambda values, names: ModelOutput(zip(names, values, strict=True)),
)
torch.utils._pytree.register_pytree_node(
    Cache, lambda x: (x.keys, None), lambda children, _: Cache(list(children))
)


def test_bridge_classes_that_only_pytorch_knows_come_back_as_themselves():
    def step(x, cache):
        assert type(cache) is Cache
        keys = [*cache.keys, x * len(cache.keys)]
        return ModelOutput(logits=x + 1, cache=Cache(keys))

    wrapped = torch2jax(step)
    out = wrapped(X, Cache([X]))
    assert type(out) is ModelOutput
    np.testing.assert_array_equal(out["logits"], X + 1)
    out = jax.jit(wrapped)(X, out["cache"])  # JAX knows the class now
    assert (type(out["cache"]), len(out["cache"].keys)) == (Cache, 3)
    np.testing.assert_array_equal(out["cache"].keys[2], X * 2)
    doubled = jax.tree.map(lambda a: a * 2, out)
    np.testing.assert_array_equal(doubled["logits"], 2 * X + 2)
    mapped = jax.vmap(wrapped, (0, None))(X, Cache([X[0]]))
    assert mapped["cache"].keys[1].shape == (2, 3)
    assert jax.eval_shape(wrapped, X, Cache([]))["logits"].shape == (2, 3)
    grad = jax.jit(jax.grad(lambda x: wrapped(x, Cache([x]))["cache"].keys[1].sum()))(X)
    np.testing.assert_array_equal(grad, jnp.ones((2, 3)))


class Layer:
    def __init__(self, keys):
        self.keys, self.is_first, self.dtype = keys, True, keys.dtype


class LayeredCache:
    def __init__(self, x):
        self.layers, self.length = [Layer(x), Layer(x + 1)], len(x)


def test_bridge_objects_that_hold_tensors_come_back_with_arrays():
    f = torch2jax(lambda x: {"out": x * 2, "cache": LayeredCache(x)})
    for transform in (lambda f: f, jax.jit, jax.vmap):
        cache = transform(f)(X)["cache"]
        assert type(cache) is LayeredCache
        assert [type(layer) for layer in cache.layers] == [Layer, Layer]
        assert cache.layers[1].is_first
        assert (cache.layers[1].keys == X + 1).all()
    assert jax.tree.map(jnp.shape, jax.eval_shape(f, X)["cache"]).layers[0].keys == (2, 3)
    back = torch2jax(lambda cache: cache.layers[0].keys + cache.layers[1].keys)
    assert (jax.jit(back)(f(X)["cache"]) == 2 * X + 1).all()
    grad = jax.grad(lambda x: f(x)["cache"].layers[1].keys.sum())(X)
    assert (grad == 1).all()
    with pytest.raises(TypeError, match="of type object at result"):
        torch2jax(lambda x: (x, object()))(X)


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    hidden: dict
    name: str = "net"


@dataclasses.dataclass
class Output2(collections.OrderedDict):  # as those of models, but registered with nobody
    logits: torch.Tensor

    def __post_init__(self):
        self["logits"] = self.logits


class Pair(collections.namedtuple("Pair", ["a", "b"])):
    pass


class RegisteredWithJax(collections.OrderedDict):
    pass


jax.tree_util.register_pytree_node(
    RegisteredWithJax,
    lambda x: (list(x.values()), list(x)),
    lambda names, values: RegisteredWithJax(zip(names, values, strict=True)),
)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, jax.vmap])
def test_bridge_dataclasses_and_registered_containers_come_back_as_they_are(transform):
    def function(x):
        named = RegisteredWithJax(a=x + 1)
        return Output(x * 2, {"a": x}), Pair(x, named), collections.defaultdict(list, a=x)

    output, pair, default = transform(torch2jax(function))(X)
    assert (type(output), type(pair), type(pair.b)) == (Output, Pair, RegisteredWithJax)
    assert (type(default), output.name) == (collections.defaultdict, "net")
    np.testing.assert_array_equal(output.logits, X * 2)
    np.testing.assert_array_equal(pair.b["a"], X + 1)
    grad = jax.grad(lambda x: torch2jax(function)(x)[0].logits.sum())(X)
    np.testing.assert_array_equal(grad, jnp.full((2, 3), 2.0))


@pytest.mark.parametrize(
    "cls", [Output2, *(type("Own", (c,), {}) for c in (dict, list, tuple, set))]
)
def test_bridge_containers_that_nobody_knows_are_refused(cls):
    def function(x):
        own = {"a": x} if issubclass(cls, dict) else [x]
        return x, {"out": cls(own if cls.__name__ == "Own" else x)}

    with pytest.raises(
        TypeError,
        match=rf"an object of type {cls.__name__} at result\[1\]\['out'\]; .*register the class",
    ):
        torch2jax(function)(X)


def test_bridge_deque_comes_back_as_a_list():
    out = jax.jit(torch2jax(lambda x: collections.deque([x, x + 1])))(X)
    assert type(out) is list
    np.testing.assert_array_equal(out[1], X + 1)


UNUSABLE = {
    "sparse": (lambda x: x.to_sparse(), r"layout torch.sparse_coo at result.*\.to_dense\(\)"),
    "in a dict": (lambda x: {"a": x.to_sparse()}, r"at result\['a'\]"),
    "csr": (lambda x: x.to_sparse_csr(), r"to_dense|could not be inferred"),
    "quantized": (
        lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
        # PyTorch 2.11 refuses to infer what quantizes.
        r"a quantized tensor at result; give back its \.dequantize\(\)|quantized nyi in meta tensors",
    ),
    "nested": (lambda x: torch.nested.nested_tensor([x[0], x[1, :2]]), "nested"),
    "meta": (lambda x: x.to("meta"), "device meta"),
    "number": (lambda x: (x, 3), r"returned 3 of type int at result\[1\]; expected only tensors"),
    "dtype": (lambda x: x.to(torch.complex32), "JAX has no dtype like torch.complex32"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", UNUSABLE)
def test_bridge_results_that_jax_cannot_have(kind):
    function, message = UNUSABLE[kind]
    with pytest.raises(TypeError, match=message):
        torch2jax(function)(X)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["sparse", "quantized", "nested", "meta"])
def test_bridge_results_that_jax_cannot_have_where_shapes_are_given(kind):
    with pytest.raises(
        jax.errors.JaxRuntimeError, match=rf"Result 0 is a.* {kind}|layout|device"
    ) as e:
        jax.block_until_ready(torch2jax(UNUSABLE[kind][0], output_shapes=X)(X))
    assert isinstance(original_exception(e.value), TypeError)


# Writes -------------------------------------------------------------------------------------------


def by_batch_norm(x):
    mean, var = x[0], x[1]
    return F.batch_norm(torch.ones(2, 3), mean, var, training=True)


WRITES = {
    "in place": lambda x: x.add_(1),
    "data": lambda x: x.data.add_(1) + 1,
    "detach": lambda x: x.detach().zero_() + 1,
    "view": lambda x: x[0].view(3).mul_(2) + 1,
    "item": lambda x: x.data.__setitem__(0, 1) or x + 1,
    "set_": lambda x: torch.empty(0).set_(x).mul_(2) + 1,
    "out": lambda x: torch.sin(x.clone(), out=x.data) + 1,
    "foreach": lambda x: torch._foreach_add_([x.data], 1) or x + 1,
    "copy_": lambda x: x.data.copy_(x + 1) + 0,
    "index_put_": lambda x: x.data.index_put_((torch.tensor([0]),), torch.ones(())) + 1,
    "batch norm": by_batch_norm,
}


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("infer", ["fake", "run"])
def test_bridge_writes_into_arguments_are_seen_at_the_inference(kind, infer):
    before = np.asarray(X).copy()
    with pytest.raises(
        TypeError, match=r"changes its array argument number 0 \(args\[0\]\) in pla"
    ):
        torch2jax(WRITES[kind], X, infer=infer)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("infer", ["fake", "run"])
def test_bridge_batch_norm_that_only_reads_its_averages(infer):
    def function(x, mean, var):
        return F.batch_norm(x, mean, var, training=False)

    args = X, jnp.ones(3), jnp.full(3, 4.0)
    out = torch2jax(function, *args, infer=infer)(*args)
    np.testing.assert_allclose(out, (X - 1) / 2, rtol=1e-5)


UNSEEN = {
    **{name: WRITES[name] for name in ("data", "set_", "out", "batch norm")},
    "numpy": lambda x: x.numpy().__setitem__(0, 7) or x + 1,
    "dlpack": lambda x: torch.from_dlpack(x.__dlpack__()).zero_() + 1,
    "storage": lambda x: x.untyped_storage().fill_(0) or x + 1,
}


@pytest.mark.parametrize("kind", UNSEEN)
def test_bridge_debug_sees_the_other_writes(kind):
    shapes = jax.eval_shape(lambda x: x, X) if kind != "batch norm" else jnp.ones((2, 3))
    wrapped = torch2jax(UNSEEN[kind], output_shapes=shapes, debug=True)
    with pytest.raises(jax.errors.JaxRuntimeError, match="changed its array argument number 0"):
        jax.block_until_ready(wrapped(jnp.array(X)))


# Errors -------------------------------------------------------------------------------------------


class Strange(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError("caf\udce9.npy"), ValueError("a\0b"), KeyError("\ud800"), Strange()],
    ids=repr,
)
def test_bridge_exceptions_with_any_text_arrive(error):
    def function(x):
        raise error

    with pytest.raises(jax.errors.JaxRuntimeError) as raised:
        jax.block_until_ready(torch2jax(function, output_shapes=X)(X))
    assert original_exception(raised.value) is error
    assert type(error).__name__ in str(raised.value)


def test_bridge_names_with_any_text_are_named():
    def function(tree):
        return tree["\udce9"].add_(1)

    function.__qualname__ = "caf\udce9"
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"caf\\udce9.*changed.*\\udce9"):
        jax.block_until_ready(torch2jax(function, output_shapes=X)({"\udce9": X}))


def test_bridge_wrong_shapes_are_one_sentence():
    with pytest.raises(ShapeInferenceError) as raised:
        torch2jax(torch.matmul)(X, X)
    assert "\n" not in str(raised.value).strip()
    assert len(str(raised.value)) < 600
    assert "float32[2, 3], float32[2, 3]" in str(raised.value)


def test_bridge_a_module_is_no_function_and_names_what_is_missing():
    wrapped = torch2jax(nn.Linear(3, 2))
    with pytest.raises(TypeError, match="apply, params, buffers = torch2jax"):
        wrapped(X)
    with pytest.raises(TypeError, match=r"missing \['bias'\], unknown \['b'\].*with what torch2j"):
        wrapped.apply({"weight": wrapped.params["weight"], "b": X}, X)
    apply, params, _ = torch2jax(nn.BatchNorm1d(3))
    with pytest.raises(TypeError, match=r"missing \['num_batches_tracked.*buffers=buffers"):
        apply(params, X)


@pytest.mark.filterwarnings("ignore")
def test_bridge_modules_that_cannot_be_given_parameters():
    for module, message in (
        (nn.Linear(2, 2, device="meta"), "weight is on the device meta.*to_empty"),
        (nn.LazyLinear(2), "weight gets its shape from the first call. Call the module once"),
        (nn.Sequential(nn.LazyBatchNorm1d()), "0.weight gets its shape"),
        (torch.jit.script(nn.Linear(2, 2)), "script module.*the module that it was made of"),
        (nn.Sequential(torch.jit.script(nn.ReLU())), "is or has a script module"),
    ):
        with pytest.raises(TypeError, match=message):
            torch2jax(module)


@pytest.mark.filterwarnings("ignore")
def test_bridge_old_weight_norm_trains_its_parts():
    torch.manual_seed(0)
    module = nn.utils.weight_norm(nn.Linear(3, 2))
    apply, params, _ = torch2jax(module)
    assert set(params) == {"bias", "weight_g", "weight_v"}
    x = torch.tensor(np.asarray(X))
    np.testing.assert_allclose(apply(params, X)[0], module(x).detach(), rtol=1e-5)
    grads = jax.jit(jax.grad(lambda p: (apply(p, X)[0] ** 2).sum()))(params)
    (module(x) ** 2).sum().backward()
    for name, parameter in module.named_parameters():
        np.testing.assert_allclose(grads[name], parameter.grad, rtol=1e-4, atol=1e-5)


# Pickles ------------------------------------------------------------------------------------------


def scaled(x, by):
    return x * by


@jax.jit
def product(w, x):
    return x @ w["w"]


def through_a_file(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("fn", [product, jnp.dot], ids=["own", "jnp"])
@pytest.mark.parametrize(
    "make", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy, through_a_file]
)
def test_bridge_jax_modules_pickle(fn, make):
    params = {"w": jnp.ones((3, 2))} if fn is product else jnp.ones((2, 2))
    layer = JaxModule(fn, params)
    x = torch.ones(4, 3) if fn is product else torch.ones(2)
    with torch.no_grad():
        next(layer.parameters()).fill_(2.0)
    made = make(layer)
    torch.testing.assert_close(made(x), layer(x))
    made(x).sum().backward()
    assert next(made.parameters()).grad is not None
    assert next(layer.parameters()).grad is None
    assert jax.tree.structure(made.jax_params()) == jax.tree.structure(params)


@pytest.mark.parametrize("make", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy])
def test_bridge_wrapped_functions_and_modules_pickle(make):
    wrapped = make(torch2jax(scaled, widen_integers=True))
    np.testing.assert_array_equal(jax.jit(wrapped)(X, 2.0), X * 2)
    given = make(torch2jax(scaled, output_shapes=Size([2, 3])))
    np.testing.assert_array_equal(given(X, 2.0), X * 2)
    module = Reads()
    apply, params, buffers = torch2jax(module, output_shapes=[Size([2, 2])] * 2)
    before = apply(params, X, buffers=buffers, is_training=False)
    after = make(apply)(params, X, buffers=buffers, is_training=False)
    jax.tree.map(np.testing.assert_array_equal, before, after)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_first_call_looks_at_young_objects_alone(monkeypatch, enabled):
    collected, collect = [], gc.collect
    monkeypatch.setattr(
        gc, "collect", lambda generation=2: collected.append(generation) or collect(0)
    )
    if not enabled:
        gc.disable()
    try:
        for net in (torch.nn.Linear(3, 3), torch.nn.MultiheadAttention(4, 1, dropout=0.5)):
            f = torch2jax(lambda x, net=net: net(*[x] * (1 if hasattr(net, "weight") else 3))[0])
            f(jnp.ones((2, 3 if hasattr(net, "weight") else 4)))
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
    assert set(collected) <= {0}
    with pytest.raises(ShapeInferenceError):
        torch2jax(lambda x: x.item() * x)(jnp.ones(()))
    assert gc.isenabled()
