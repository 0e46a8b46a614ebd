"""What `jax2torch` takes and returns: pytrees, dtypes, strides, static arguments, errors."""

import copy
import gc
import pickle
from collections import OrderedDict, namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch2jax_bridge import JaxModule, Size, jax2torch, torch2jax

NAMES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
]
Pair = namedtuple("Pair", ["left", "right"])


def pointer(array):
    return array.unsafe_buffer_pointer()


def bits(tensor):
    plain = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)
    return bytes(plain.reshape(-1).view(torch.uint8).tolist())


@st.composite
def tensors(draw):
    dtype = getattr(torch, draw(st.sampled_from(NAMES)))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    raw = torch.arange(int(np.prod(shape)) * dtype.itemsize).mul(37).remainder(97).to(torch.uint8)
    tensor = (raw % 2 if dtype == torch.bool else raw).view(dtype).reshape(shape)
    if draw(st.booleans()):
        tensor = tensor.permute(draw(st.permutations(range(tensor.ndim))))
    if tensor.ndim and draw(st.booleans()):
        tensor = tensor[..., :: draw(st.integers(1, 2))]
    if draw(st.booleans()):
        tensor = tensor.expand(draw(st.integers(0, 2)), *tensor.shape)
    return tensor


trees = st.recursive(
    tensors(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=4,
)

echo = jax2torch(lambda *args, **kwargs: (args, kwargs))


@settings(deadline=None)
@given(args=st.lists(trees, max_size=2), kwargs=st.dictionaries(st.sampled_from("xy"), trees))
def test_jax2torch_trees_of_any_tensors_come_back(args, kwargs):
    with jax.enable_x64(True):
        got = echo(*args, **kwargs)
    given, spec = jax.tree.flatten((tuple(args), kwargs))  # dicts in order of their keys
    returned, returned_spec = jax.tree.flatten(got)
    assert returned_spec == spec
    addresses = {tensor.data_ptr() for tensor in given if tensor.numel()}
    for a, b in zip(returned, given, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert bits(a) == bits(b)
        assert a.numel() == 0 or a.data_ptr() not in addresses


def test_jax2torch_memory_of_arguments_is_not_copied():
    addresses = []

    def note(tensor):
        addresses.append(tensor.data_ptr())
        return tensor.sum()

    f = jax2torch(lambda x: torch2jax(note, output_shapes=Size(()))(x))
    tensor = torch.arange(1 << 16, dtype=torch.float32)
    assert f(tensor).item() == tensor.sum().item()
    assert addresses == [tensor.data_ptr()]


def test_jax2torch_results_are_jaxs_memory_and_may_be_written_to():
    constant = jnp.zeros(64)
    x = torch.ones(64)
    f = jax2torch(lambda x: (x, x, x + 1, constant, constant))
    outs = f(x)
    assert len({out.data_ptr() for out in (x, *outs)} | {pointer(constant)}) == 7
    for out in outs:
        out.fill_(7)
    assert not constant.any()
    assert x.eq(1).all()
    assert [out.flatten()[0].item() for out in f(x)] == [1, 1, 2, 0, 0]


def test_jax2torch_results_outlive_everything():
    outs = [jax2torch(lambda x, n: x * n)(torch.ones(4096), n) for n in range(10)]
    gc.collect()
    noise = [torch.full((4096,), -1.0) for _ in range(20)]
    assert [out.unique().tolist() for out in outs] == [[float(n)] for n in range(10)]
    del noise


LAZY = {
    "conj": lambda: torch.tensor([1 + 2j, 3 - 1j]).conj(),
    "neg": lambda: torch.tensor([1 + 2j, 3 - 1j]).conj().imag,
    "zeros": lambda: torch._efficientzerotensor((3,)),
    "parameter": lambda: torch.nn.Parameter(torch.ones(3)),
    "unaligned": lambda: torch.arange(9.0)[1:],
    "empty": lambda: torch.empty(0, 3),
    "one": lambda: torch.tensor(3.0),
}


@pytest.mark.parametrize("name", LAZY)
def test_jax2torch_tensors_of_every_kind(name):
    tensor = LAZY[name]()
    expected = torch.zeros(3) if name == "zeros" else tensor.detach().resolve_conj().resolve_neg()
    torch.testing.assert_close(jax2torch(lambda x: x * 2)(tensor).detach(), expected * 2)


def test_jax2torch_numbers_are_weakly_typed_and_compiled_once():
    traces = []

    def fn(x, n):
        traces.append(n)
        return x * n

    f = jax2torch(fn)
    x = torch.ones(2, dtype=torch.bfloat16)
    assert [f(x, n).dtype for n in (2, 3, 2.5, 3.5)] == [torch.bfloat16] * 4
    assert [f(x, n)[0].item() for n in (2, 3, 2.5, 3.5)] == [2, 3, 2.5, 3.5]
    assert len(traces) == 2
    assert f(torch.ones(2), 1j).dtype == torch.complex64
    assert f(torch.ones(2, dtype=torch.int32), True).dtype == torch.int32


def test_jax2torch_arrays_are_taken_too():
    f = jax2torch(lambda *xs: [x + 1 for x in xs])
    outs = f(jnp.ones(2), np.ones(2, "float32"), np.float32(1), np.arange(2))
    assert [out.dtype for out in outs] == [torch.float32] * 3 + [torch.int32]
    key = jax.random.key(0)
    drawn = jax2torch(lambda key: jax.random.normal(key["k"], (3,)))({"k": key})
    np.testing.assert_array_equal(drawn, jax.random.normal(key, (3,)))


def test_jax2torch_numbers_and_nothing_as_results():
    f = jax2torch(lambda x: {"n": 2, "f": 0.5, "none": None, "np": np.ones(1, "float32")})
    out = f(torch.ones(1, requires_grad=True))
    assert (out["n"].item(), out["f"].item(), out["none"]) == (2, 0.5, None)
    assert jax2torch(lambda x: None)(torch.ones(1, requires_grad=True)) is None
    assert jax2torch(lambda: ())() == ()
    assert jax2torch(lambda: jnp.arange(3))().tolist() == [0, 1, 2]


def test_jax2torch_trees_keep_their_types():
    f = jax2torch(lambda tree: tree)
    tree = OrderedDict(b=Pair(torch.ones(1), None), a=[torch.zeros(2), (torch.ones(3),)])
    out = f(tree)
    assert type(out) is OrderedDict
    assert list(out) == ["b", "a"]
    assert type(out["b"]) is Pair
    assert out["b"].right is None


def power(x, n, *, mode="up", bias=0.0):
    assert isinstance(n, int)
    return {"up": x**n, "down": x**-n}[mode] + bias


STATIC = {
    "number": {"static_argnums": 1, "static_argnames": "mode"},
    "negative": {"static_argnums": (-1,), "static_argnames": ("mode",)},
    "name": {"static_argnames": ("n", "mode")},
}


@pytest.mark.parametrize("options", STATIC.values(), ids=STATIC)
def test_jax2torch_static_arguments(options):
    f = jax2torch(power, **options)
    x = torch.tensor([2.0])
    assert f(x, 3).item() == 8
    assert f(x, n=3).item() == 8
    assert f(x, 3, mode="down", bias=1.0).item() == 1.125
    assert f(x=x, n=2, mode="up").item() == 4
    assert f(n=2, x=x, bias=torch.tensor(1.0)).item() == 5


def test_jax2torch_static_arguments_of_different_types_are_different():
    f = jax2torch(lambda x, s: x + (10 if isinstance(s, float) else 1), static_argnums=1)
    x = torch.zeros(())
    assert [f(x, s).item() for s in (1, 1.0, True)] == [1, 10, 1]
    sign = jax2torch(lambda x, s: x + np.copysign(1, s), static_argnums=1)
    assert [sign(x, s).item() for s in (0.0, -0.0)] == [1, -1]


def test_jax2torch_static_arguments_in_the_middle_and_variadic():
    f = jax2torch(lambda a, op, *rest: getattr(jnp, op)(jnp.stack([a, *rest])), static_argnums=1)
    assert f(torch.tensor(1.0), "max", torch.tensor(3.0), torch.tensor(2.0)).item() == 3
    g = jax2torch(lambda *args: args[0] * args[2], static_argnums=2)
    assert g(torch.tensor(2.0), torch.tensor(0.0), 4).item() == 8


def test_jax2torch_one_wrapper_serves_every_shape():
    f = jax2torch(lambda x: {"parts": list(x)})
    assert [len(f(torch.ones(n))["parts"]) for n in (1, 3, 2, 3)] == [1, 3, 2, 3]


def test_jax2torch_of_a_jitted_function_and_of_a_method():
    assert jax2torch(jax.jit(jnp.sin))(torch.zeros(2)).tolist() == [0, 0]
    assert repr(jax2torch(power)) == "jax2torch(power)"
    assert jax2torch(power).__doc__ == power.__doc__


def test_jax2torch_functions_are_copied_and_pickled():
    f = jax2torch(power, static_argnums=1)
    f(torch.ones(1), 2)
    for other in (copy.copy(f), copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
        assert other(torch.tensor([3.0]), 2).item() == 9


def test_jax2torch_wide_integers_become_narrow_without_x64():
    f = jax2torch(lambda x, i: (x[i], i * 2))
    out, doubled = f(torch.arange(4.0), torch.tensor([3, -1]))
    assert (out.tolist(), doubled.dtype) == ([3.0, 3.0], torch.int32)
    with jax.enable_x64(True):
        assert f(torch.arange(4.0), torch.tensor([1 << 40]))[1].tolist() == [1 << 41]


class Thing:
    def __repr__(self):
        return "Thing()"


ERRORS = {
    r"f was given, at args\[0\]\['a'\]\[1\], 'text' of type str; .*static_argnums": (
        TypeError,
        lambda f: f({"a": [torch.ones(1), "text"]}),
    ),
    r"at kwargs\['x'\], Thing\(\) of type Thing": (TypeError, lambda f: f(x=Thing())),
    r"at args\[1\], a tensor of layout torch.sparse_coo; .*to_dense": (
        TypeError,
        lambda f: f(1, torch.eye(2).to_sparse()),
    ),
    r"at args\[0\], a tensor of dtype torch.float64, but JAX has only float32.*jax_enable_x64": (
        TypeError,
        lambda f: f(torch.ones(1, dtype=torch.float64)),
    ),
    r"dtype torch.complex128, but JAX has only complex64": (
        TypeError,
        lambda f: f(torch.ones(1, dtype=torch.complex128)),
    ),
    r"at args\[0\], a tensor that JAX cannot have: JAX has no dtype like torch.int4": (
        TypeError,
        lambda f: f(torch.empty(1, dtype=torch.int4)),
    ),
    r"on several devices: args\[0\] is on cpu, args\[1\]\['b'\] on meta; move them": (
        ValueError,
        lambda f: f(torch.ones(1), {"b": torch.ones(1, device="meta")}),
    ),
    r"shape \(2,\) with values beyond torch.int32.*jax_enable_x64": (
        OverflowError,
        lambda f: f(torch.tensor([0, 1 << 31])),
    ),
    r"values beyond torch.uint32": (
        OverflowError,
        lambda f: f(torch.tensor([1 << 32], dtype=torch.uint64)),
    ),
}


@pytest.mark.parametrize("message", ERRORS)
def test_jax2torch_arguments_that_are_refused(message):
    def f(*args, **kwargs):
        return args, kwargs

    kind, call = ERRORS[message]
    f.__qualname__ = "f"
    with pytest.raises(kind, match=message):
        call(jax2torch(f))


def test_jax2torch_tracers_are_refused():
    with pytest.raises(TypeError, match=r"at args\[0\], the tracer .*call the JAX function itself"):
        jax.jit(jax2torch(jnp.sin))(jnp.ones(2))


def test_jax2torch_results_that_are_refused():
    with pytest.raises(TypeError, match=r"at result\['a'\]\[0\], 'text' of type str; expected"):
        jax2torch(lambda x: {"a": ["text"]})(torch.ones(1))
    with pytest.raises(TypeError, match=r"at result\[1\], .*PyTorch has no dtype like int4"):
        jax2torch(lambda x: (x, x.astype("int4")))(torch.ones(1))
    with pytest.raises(TypeError, match="typed random keys"):
        jax2torch(lambda x: jax.random.key(0))(torch.ones(1))


def test_jax2torch_wrapping_errors():
    with pytest.raises(TypeError, match="jax2torch takes a function, got 3 of type int"):
        jax2torch(3)
    with pytest.raises(ValueError, match=r"static_argnums contains 4, but .* 2 positional"):
        jax2torch(power, static_argnums=4)
    with pytest.raises(ValueError, match="static_argnames contains 'no', but"):
        jax2torch(power, static_argnames="no")
    with pytest.raises(ValueError, match=r"static argument 1 is \[1\] of type list; give a tuple"):
        jax2torch(power, static_argnums=1)(torch.ones(1), [1])
    with pytest.raises(ValueError, match=r"static argument 'mode' is \{\} of type dict"):
        jax2torch(power, static_argnames="mode")(torch.ones(1), 2, mode={})


def test_jax2torch_errors_of_the_function_are_its_own_and_nothing_stays():
    calls = []

    def fn(x):
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("mine")
        return x

    f = jax2torch(fn)
    with pytest.raises(ZeroDivisionError, match="mine"):
        f(torch.ones(1))
    assert f(torch.ones(1)).item() == 1


def test_jax2torch_residuals_that_torch_cannot_have_are_made_again():
    @jax.custom_vjp
    def quantized(x):
        return x * 2

    def forward(x):
        return x * 2, x.astype("int4")

    quantized.defvjp(forward, lambda kept, g: (g * kept.astype(g.dtype),))
    x = torch.tensor([1.0, 3.0], requires_grad=True)
    jax2torch(quantized)(x).sum().backward()
    assert x.grad.tolist() == [1.0, 3.0]


def test_jax2torch_module_has_parameters_buffers_and_constants():
    params = {
        "layers": [{"w": jnp.ones((2, 2))}, jax.nn.relu],
        "steps": jnp.arange(2),
        "scale": 2.0,
    }

    def fn(p, x, *, sign):
        return p["layers"][1](x @ p["layers"][0]["w"]) * p["scale"] * sign + p["steps"]

    module = JaxModule(fn, params, static_argnames="sign")
    assert [name for name, _ in module.named_parameters()] == ["params.layers.0.w"]
    assert [name for name, _ in module.named_buffers()] == ["params.steps"]
    assert module(torch.ones(2), sign=-1).tolist() == [-4.0, -3.0]
    with torch.no_grad():
        module.params.layers.get_submodule("0").w.mul_(2)
    assert module(torch.ones(2), sign=1).tolist() == [8.0, 9.0]
    assert params["layers"][0]["w"].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert module.jax_params()["layers"][0]["w"].tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert module.jax_params()["layers"][1] is jax.nn.relu
    other = copy.deepcopy(module)
    other.load_state_dict({name: t * 0 for name, t in module.state_dict().items()})
    assert other(torch.ones(2), sign=1).tolist() == [0.0, 0.0]
    assert module(torch.ones(2), sign=1).tolist() == [8.0, 9.0]


def test_jax2torch_module_of_one_array():
    module = JaxModule(lambda w, x: w * x, jnp.full(2, 3.0))
    assert [name for name, _ in module.named_parameters()] == ["params"]
    assert module(torch.ones(2)).tolist() == [3.0, 3.0]


def test_jax2torch_module_names_are_unique():
    for params in ({"a.b": jnp.ones(1), "a": {"b": jnp.ones(1)}}, {"train": jnp.ones(1)}):
        with pytest.raises(ValueError, match=r"cannot name a parameter params\.\S+, because"):
            JaxModule(lambda p: 0, params)


@pytest.mark.parametrize("tensor", [torch.ones(3, 2), torch.nn.Parameter(torch.ones(3, 2))])
def test_bridge_jax_module_takes_no_tensors_as_params(tensor):
    with pytest.raises(TypeError, match=r"params\['layer'\]\['w'\] is a tensor, \(3, 2\) of torch"):
        JaxModule(lambda p, x: x @ p["layer"]["w"], {"layer": {"w": tensor}, "n": 2})
