"""`jax2torch` where tensors have no values: `torch.compile`, `torch.export`, fake and meta tensors."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

from torch2jax_bridge import jax2torch
from torch2jax_bridge._jax2torch import execute as _execute

BACKENDS = ["eager", "aot_eager", "inductor"]

inner = jax2torch(lambda x, y: jnp.sum(x * jnp.sin(y)))
scaled = jax2torch(
    lambda tree, n, mode: {"out": tree["x"] * n if mode == "mul" else tree["x"] + n, "k": [tree]},
    static_argnames="mode",
)


def outer(x, y):
    return inner(x * 2, y) + (x * y).sum()


@pytest.fixture(autouse=True)
def fresh():
    yield
    torch.compiler.reset()


def compiled(function, backend="aot_eager", **options):
    return torch.compile(function, fullgraph=True, backend=backend, **options)


def arguments(*shape):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(shape, generator=generator, requires_grad=True) for _ in range(2))


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")  # by inductor
@pytest.mark.parametrize("backend", BACKENDS)
def test_jax2torch_compiled_values_and_gradients(backend):
    x, y = arguments(5)
    function = compiled(outer, backend)
    got = torch.autograd.grad(function(x, y), (x, y))
    want = torch.autograd.grad(outer(x, y), (x, y))
    torch.testing.assert_close(got, want)
    with torch.no_grad():
        torch.testing.assert_close(function(x, y), outer(x, y))


def test_jax2torch_is_one_node_of_the_graph():
    graphs = []

    def backend(module, inputs):
        graphs.append([str(node.target) for node in module.graph.nodes if node.op != "output"])
        return module

    torch.compile(outer, fullgraph=True, backend=backend)(*arguments(3))
    assert len(graphs) == 1
    assert not any("sin" in target for target in graphs[0])


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_jax2torch_compiled_trees_numbers_and_static_arguments(backend):
    x, y = (t.detach() for t in arguments(3))
    for mode, n in (("mul", 2.5), ("add", 2), ("mul", 3.5)):
        function = compiled(lambda x, y: scaled({"x": x, "y": [y]}, n, mode=mode), backend)
        got, want = function(x, y), scaled({"x": x, "y": [y]}, n, mode=mode)
        torch.testing.assert_close(got["out"], want["out"])
        torch.testing.assert_close(got["k"][0]["y"][0], y)


TRANSFORMED = {
    "grad": lambda x, y: torch.func.grad(inner, (0, 1))(x, y),
    "vmap": lambda x, y: torch.func.vmap(inner)(x[None], y[None]),
    "vmap_of_grad": lambda x, y: torch.func.vmap(torch.func.grad(inner))(x[None], y[None]),
    "jvp": lambda x, y: torch.func.jvp(inner, (x, y), (y, x)),
    "checkpoint": lambda x, y: checkpoint(inner, x, y, use_reentrant=False),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_jax2torch_compiled_transforms(name):
    x, y = (t.detach() for t in arguments(3))
    function = TRANSFORMED[name]
    torch.testing.assert_close(compiled(function)(x, y), function(x, y))


def test_jax2torch_compiled_with_open_sizes():
    function = compiled(outer, dynamic=True)
    for size in (3, 4, 5):
        torch.testing.assert_close(function(*arguments(size)), outer(*arguments(size)))


def test_jax2torch_in_a_compiled_module():
    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(3, 3)
            self.act = jax2torch(jax.nn.gelu)

        def forward(self, x):
            return self.act(self.linear(x)).sum()

    module = Module()
    x = torch.ones(2, 3)
    want = torch.autograd.grad(module(x), module.parameters())
    got = torch.autograd.grad(compiled(module)(x), module.parameters())
    torch.testing.assert_close(got, want)


def test_jax2torch_errors_in_a_compiled_function_are_readable():
    function = torch.compile(lambda x: scaled(x, 2, mode="mul"), backend="aot_eager")
    with pytest.raises(Exception, match=r"tree\[.x.\]|indices|subscript|not"):
        function(torch.ones(2))


def test_jax2torch_of_fake_tensors():
    with FakeTensorMode():
        out = scaled(
            {"x": torch.ones(3, 2), "y": [torch.ones(4, dtype=torch.int64)]}, 2, mode="mul"
        )
    assert type(out["out"]).__name__ == "FakeTensor"
    assert (out["out"].shape, out["out"].dtype) == ((3, 2), torch.float32)
    assert (out["k"][0]["y"][0].shape, out["k"][0]["y"][0].dtype) == ((4,), torch.int32)


def test_jax2torch_of_meta_tensors_with_gradients():
    x = torch.ones(3, device="meta", requires_grad=True)
    out = inner(x, x)
    assert (out.device.type, out.shape) == ("meta", ())
    (grad,) = torch.autograd.grad(out, x)
    assert (grad.device.type, grad.shape) == ("meta", (3,))


def test_jax2torch_traced_and_exported():
    x, y = (t.detach() for t in arguments(3))
    graph = make_fx(outer)(x, y)
    assert any("torch2jax_bridge" in str(node.target) for node in graph.graph.nodes)
    torch.testing.assert_close(graph(y, x), outer(y, x))

    class Module(torch.nn.Module):
        def forward(self, x, y):
            return outer(x, y)

    exported = torch.export.export(Module(), (x, y)).module()
    torch.testing.assert_close(exported(y, x), outer(y, x))


def test_jax2torch_operation_is_sound():
    x = torch.ones(3)
    unique = jax2torch(lambda x, y: (x + y, jnp.sum(x)))
    graph = make_fx(unique)(x, x)
    (node,) = (node for node in graph.graph.nodes if "torch2jax_bridge" in str(node.target))
    key = node.args[2]
    assert key in _execute._in_graphs
    torch.library.opcheck(torch.ops.torch2jax_bridge.run.default, ([x, x * 2], [], key))


WITHOUT_COMPILING = """
import sys, torch, jax.numpy as jnp
from torch2jax_bridge import jax2torch
x = torch.ones(3, requires_grad=True)
jax2torch(jnp.sin)(x).sum().backward()
assert "torch._dynamo" not in sys.modules
"""


def test_jax2torch_loads_the_compiler_only_for_those_who_compile():
    subprocess.run([sys.executable, "-c", WITHOUT_COMPILING], check=True)
