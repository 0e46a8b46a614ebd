"""Every example of the later Pax's documentation of its experimental API, under the name it documents.

Imports name this project's packages, and arrays print as JAX prints them now.
"""

import doctest

import jax
import jax.numpy as jnp
import pytest

import opax
import pax_jax as pax

# A chain of optimizers is named after what made it: `adam(...)`, where the later Pax printed the
# names of local classes. Summaries show arrays too, unless they are asked not to, and the names of modules.
EXAMPLES = {
    "mutable": """
>>> net = pax.Linear(1, 2)
>>> with pax.experimental.mutable(net) as net:
...     net.bias = jnp.array(0.)
>>> assert net.bias.item() == 0.
""",
    "Flattener": """
>>> net = pax.Linear(3, 3)
>>> opt = opax.adam(1e-3)(net.parameters())
>>> flat_mods = pax.experimental.Flattener(model=net, optimizer=opt)
>>> net, opt = flat_mods.model, flat_mods.optimizer
>>> print(net.summary(arrays=False))
Linear(in_dim=3, out_dim=3, with_bias=True)
>>> print(opt.summary())
adam(learning_rate=0.001)
├── scale_by_adam...
│   ├── Linear(in_dim=3, out_dim=3, with_bias=True)
│   └── Linear(in_dim=3, out_dim=3, with_bias=True)
└── scale...
""",
    "Flattener.update": """
>>> net = pax.Linear(3, 3)
>>> flats = pax.experimental.Flattener(net=net)
>>> flats = flats.update(net=pax.Linear(4, 4))
>>> print(flats.net.summary(arrays=False))
Linear(in_dim=4, out_dim=4, with_bias=True)
""",
    "graph.Node": """
>>> x = pax.experimental.graph.Node((), lambda x: x, jnp.array(0))
>>> x.parents, x.fx, x.value
((), Lambda..., Array(0, dtype=int32, weak_type=True))
""",
    "graph.Node.__rshift__": """
>>> import jax, pax_jax, jax.numpy as jnp
>>> from functools import partial
>>> x = pax.experimental.graph.Node((), lambda x: x, jnp.array(1.))
>>> y = x >> partial(jax.lax.add, 1.)
>>> y.value
Array(2., dtype=float32, weak_type=True)
""",
    "graph.Node.__and__": """
>>> x = pax.experimental.graph.InputNode(1)
>>> y = pax.experimental.graph.InputNode(2)
>>> z = x & y
>>> z.value
(1, 2)
""",
    "graph.Node.__or__": """
>>> x = pax.experimental.graph.InputNode(1)
>>> y = pax.experimental.graph.InputNode(2)
>>> z = (x | y) >> jax.lax.add
>>> z.value
Array(3, dtype=int32, weak_type=True)
""",
    "graph.Node.binary_ops": """
>>> x = pax.experimental.graph.InputNode(1)
>>> y = pax.experimental.graph.InputNode(2)
>>> z = x.binary_ops(jax.lax.sub, y)
>>> z.value
Array(-1, dtype=int32, weak_type=True)
""",
    "graph.Node.shape": """
>>> x = pax.experimental.graph.InputNode(jnp.empty((3, 4)))
>>> x.shape
(3, 4)
""",
    "graph.Node.dtype": """
>>> x = pax.experimental.graph.InputNode(jnp.empty((1,), dtype=jnp.int32))
>>> x.dtype
dtype('int32')
""",
    "graph.build_graph_module": """
>>> def residual_forward(x):
...     y = x >> pax.Linear(x.shape[-1], x.shape[-1])
...     y >>= jax.nn.relu
...     z = (x | y) >> jax.lax.add
...     return z
...
>>> from pax_jax.experimental.graph import build_graph_module
>>> net = build_graph_module(residual_forward)(jnp.empty((3, 8)))
>>> print(net.summary(arrays=False))
GraphModule
├── ...: Linear(in_dim=8, out_dim=8, with_bias=True)
├── ...: x => relu(x)
├── ...: x => identity(x)
└── ...: x => add(x)
""",
    "LazyModule": """
>>> from dataclasses import dataclass
>>> @dataclass
... class MLP(pax.experimental.LazyModule):
...     features: list
...
...     def __call__(self, x):
...         sizes = zip(self.features[:-1], self.features[1:])
...         for i, (in_dim, out_dim) in enumerate(sizes):
...             fc = self.get_or_create(f"fc_{i}", lambda: pax.Linear(in_dim, out_dim))
...             x = jax.nn.relu(fc(x))
...         return x
...
...
>>> mlp, _ = MLP([1, 2, 3]) % jnp.ones((1, 1))
>>> print(mlp.summary(arrays=False))
MLP(features=[1, 2, 3])
├── fc_0: Linear(in_dim=1, out_dim=2, with_bias=True)
└── fc_1: Linear(in_dim=2, out_dim=3, with_bias=True)
""",
    "default_mp_policy": """
>>> net = pax.Sequential(pax.Linear(3, 3), pax.BatchNorm1D(3))
>>> net = net.apply(pax.experimental.default_mp_policy)
>>> print(net.summary(arrays=False))
Sequential
├── modules[0]: Linear(in_dim=3, out_dim=3, with_bias=True, mp_policy=FHF)
└── modules[1]: BatchNorm1D(num_channels=3, ..., mp_policy=FFF)
""",
    "apply_scaled_gradients": """
>>> import jmp
>>> from pax_jax.experimental import apply_scaled_gradients
>>> net = pax.Linear(2, 2)
>>> opt = opax.adam(1e-4)(net.parameters())
>>> loss_scale = jmp.DynamicLossScale(jmp.half_dtype()(2**15))
>>> grads = net.parameters()
>>> net, opt, loss_scale = apply_scaled_gradients(net, opt, loss_scale, grads)
>>> print(loss_scale.loss_scale)
3.277e+04
""",
    "save_weights_to_dict": """
>>> net = pax.Sequential(pax.Linear(1, 2), jax.nn.relu, pax.Linear(2, 3))
>>> weights = pax.experimental.save_weights_to_dict(net)
>>> weights
{'modules': ({'weight': ..., 'bias': ...}, {}, {'weight':..., 'bias': ...})}
""",
    "load_weights_from_dict": """
>>> a = pax.Sequential(pax.Linear(1, 2), jax.nn.relu, pax.Linear(2, 3))
>>> weights = pax.experimental.save_weights_to_dict(a)
>>> b = pax.Sequential(pax.Linear(1, 2), jax.nn.relu, pax.Linear(2, 3))
>>> b = pax.experimental.load_weights_from_dict(b, weights)
>>> assert a == b
""",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name, capsys):
    names = {"pax": pax, "opax": opax, "jax": jax, "jnp": jnp}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    test = doctest.DocTestParser().get_doctest(EXAMPLES[name], names, name, None, 0)
    results = doctest.DocTestRunner(optionflags=flags).run(test)
    assert results.failed == 0, capsys.readouterr().out
    assert results.attempted == len(test.examples) > 0


def test_every_example_is_here(capsys):
    documented = {"mutable", "Flattener", "graph", "LazyModule"}
    functions = set(pax.experimental.__all__) - documented
    assert functions | documented <= {name.partition(".")[0] for name in EXAMPLES}
    with capsys.disabled():
        print(f"\n{len(EXAMPLES)} documented examples of the later Pax run")
    assert len(EXAMPLES) == 16
