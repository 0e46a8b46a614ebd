"""How modules are shown: `repr`, `summary`, and in a notebook."""

import dataclasses
import functools
import re
from collections import OrderedDict
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import pax_jax as pax

KEY = jax.random.key(0)


class Moments(NamedTuple):
    mean: object
    var: object


class Net(pax.Module):
    tied = pax.Shared("layer.weight")

    def __init__(self):
        super().__init__()
        self.layer = pax.Linear(2, 3, rng_key=KEY)
        self.blocks = [pax.Linear(3, 3, rng_key=KEY), pax.BatchNorm1D(3, False, False)]
        self.size = 3
        self.activation = jax.nn.relu
        self._private = "private"
        self.register_parameter("scale", jnp.ones(1))
        self.register_state_subtree("moments", {"<b>": Moments(jnp.zeros(2), None), "t": (2.0,)})


def squeezed(text):
    return re.sub(r"(?<=[(\[{]) | (?=[)\]}])", "", " ".join(text.split()))


def test_the_tree_has_names_shapes_dtypes_and_kinds():
    assert squeezed(re.sub(r"rms [^,)]*", "rms", repr(Net()))) == (
        "Net(size=3, activation=relu, "
        "layer=Linear(in_dim=2, out_dim=3, with_bias=True, weight=float32[2,3] rms, bias=float32[3] rms), "
        "blocks=[Linear(in_dim=3, out_dim=3, with_bias=True, weight=float32[3,3] rms, bias=float32[3] rms), "
        "BatchNorm1D(num_channels=3, create_scale=False, create_offset=False, decay_rate=0.9, eps=1e-05, "
        "data_format=NWC, ema_mean=state float32[3] rms, "
        "ema_var=state float32[3] rms, ema_weight=state float32[] 0)], "
        "scale=float32[1] 1, "
        "moments={'<b>': Moments(mean=state float32[2] rms, var=None), 't': (2.0,)}, "
        "tied=Shared('layer.weight'))"
    )


def test_lines_are_broken_at_100_characters():
    lines = repr(Net()).splitlines()
    assert max(map(len, lines)) <= 110  # a list of arguments is not broken
    assert lines[0] == "Net("
    assert lines[1] == "  size=3, activation=relu,"
    assert lines[-1] == ")"
    assert (
        repr(pax.Dropout(0.5, rng_key=KEY)) == "Dropout(dropout_rate=0.5, rng_key=state key<fry>[])"
    )
    assert repr(pax.Identity()) == "Identity()"


def test_gradients_frozen_and_parameter_only_modules_differ():
    net = Net()
    x = jnp.ones((4, 2))
    forms = [
        net,
        net.parameters(),
        net.freeze(),
        net.eval(),
        net.filter("state"),
        pax.grad(lambda net, x: jnp.sum(net.layer(x) ** 2))(net, x),
        jax.tree.map(jnp.ones_like, net),
    ]
    assert len({repr(form) for form in forms}) == len(forms)
    assert len({form._repr_html_() for form in forms}) == len(forms)
    assert len({form.summary() for form in [net, net.parameters(), net.freeze()]}) == 3
    assert "weight=frozen float32[2,3]" in repr(net.freeze())
    assert "ema_mean=None" in repr(net.parameters())
    assert repr(net.eval()).count("training=False") == 1
    ema = pax.EMA(pax.Linear(1, 1, rng_key=KEY), 0.9)
    assert "weight=state float32[1,1]" in repr(ema)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda leaf: leaf, "float32[2,1] rms 0.5"),
        (lambda leaf: leaf.astype(jnp.bfloat16), "bfloat16[2,1] rms 0.5"),
        (lambda leaf: leaf * jnp.nan, "float32[2,1] rms nan"),
        (lambda leaf: leaf.astype(jnp.complex64), "complex64[2,1] rms 0.5"),
        (lambda leaf: leaf.astype(jnp.int8), "int8[2,1]"),
        (lambda leaf: leaf[:1] > 0, "bool[1,1] True"),
        (lambda leaf: leaf[:0], "float32[0,1]"),
        (lambda leaf: jnp.zeros((2**9, 2**8)), "float32[512,256]"),
        (np.asarray, "float32[2,1] numpy"),
        (lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), "float32[2,1] abstract"),
        (lambda leaf: 3, "3"),
        (lambda leaf: "x" * 30, f"'{'x' * 30}'"),
    ],
)
def test_leaves(change, text):
    layer = pax.Linear(2, 1, with_bias=False, rng_key=KEY)
    module = jax.tree.map(lambda leaf: change(jnp.full_like(leaf, 0.5)), layer)
    shown = repr(module)
    assert shown == f"Linear(in_dim=2, out_dim=1, with_bias=False, weight={text})"
    assert f"</span> {text.replace(chr(39), '&#x27;')}</div>" in module._repr_html_()
    module.summary()


def test_tracers_and_deleted_arrays():
    layer = pax.Linear(2, 1, rng_key=KEY)
    shown = []

    @jax.jit
    def f(traced):
        shown.extend([repr(traced), traced._repr_html_(), traced.summary(), repr(layer)])
        return traced

    f(layer)
    assert "weight=float32[2,1] traced" in shown[0]
    assert "float32[2,1] traced" in shown[1]
    assert "weight: float32[2,1] traced" in shown[2]
    assert shown[3] == repr(layer)
    with jax.transfer_guard("disallow"):
        assert "float32[2,1]" in repr(layer)
    jax.tree.map(lambda leaf: leaf.delete(), layer)
    assert "weight=float32[2,1] deleted" in repr(layer)
    assert "deleted" in layer._repr_html_()
    assert "deleted" in layer.summary()


class Deep(pax.Module):
    def __init__(self, depth, width=2):
        super().__init__()
        self.w = jnp.ones(1)
        self.inner = [Deep(depth - 1), Deep(depth - 1).eval()][:width] if depth else []


def test_huge_modules_are_bounded():
    net = Deep(9)
    lines = repr(net).splitlines()
    assert 100 < len(lines) <= 500
    assert any("... 7 states" in line for line in lines)
    assert len(net._repr_html_()) < 500_000
    many = pax.Module()
    for i in range(100):
        setattr(many, f"w{i}", jnp.ones(1))
    assert len(repr(many).splitlines()) == 43
    assert "... 60 more" in repr(many)
    assert len(many.summary(return_list=True)) == 101


def test_items_that_differ_in_values_alone_are_shown_once():
    keys = jax.random.split(KEY, 100)
    net = pax.Sequential(*(pax.Linear(1, 1, rng_key=key) for key in keys), pax.Identity())
    shown = squeezed(repr(net))
    assert (
        "modules=(100 x Linear(in_dim=1, out_dim=1, with_bias=True, weight=float32[1,1], bias=float32[1])"
        in shown
    )
    html = net._repr_html_()
    assert "modules[0:100]:</span> 100 x Linear(in_dim=1" in html
    assert "2 parameters each" in html
    mixed = pax.Sequential(*(pax.Linear(1, 1, rng_key=key) for key in keys[:3]))
    mixed[1] = mixed[1].freeze()
    assert repr(mixed).count("Linear(") == 3


def test_the_summary_has_names_shapes_and_counts():
    net = Net()
    norm = "BatchNorm1D(num_channels=3, create_scale=False, create_offset=False, decay_rate=0.9, eps=1e-05, "
    lines = [re.sub(" {2,}", " | ", line) for line in net.freeze().summary(return_list=True)]
    assert lines[0] == "Net | 10 states, 22 frozen"
    assert lines[1] == "├── layer: Linear(in_dim=2, out_dim=3, with_bias=True) | 9 frozen"
    assert lines[2] == "│ | ├── weight: frozen float32[2,3] | 6 frozen"
    assert "├── scale: frozen float32[1] | 1 frozen" in lines
    lines = [re.sub(" {2,}", " | ", line) for line in net.summary(return_list=True)]
    assert lines[0] == "Net | 22 parameters, 10 states"
    assert lines[7] == f"├── blocks[1]: {norm}data_format=NWC) | 7 states"
    assert "├── moments['<b>'].mean: state float32[2] | 2 states" in lines
    assert lines[-1] == "└── tied: Shared('layer.weight')"


def test_html_folds_and_escapes():
    net = Net()
    net.note = "</div><script>"
    html = net._repr_html_()
    assert "<script>" not in html.partition("</style>")[2]
    assert "&lt;/div&gt;&lt;script&gt;" in html
    assert "moments[&#x27;&lt;b&gt;&#x27;]" in html
    assert html.count("<details") == html.count("</details>") == 4
    assert html.count("<div") == html.count("</div>")
    assert html.count("<details open>") == 4
    big = pax.Sequential(*(pax.Linear(1, i + 1, rng_key=KEY) for i in range(20)))._repr_html_()
    assert (big.count("<details open>"), big.count("<details>")) == (1, 20)


class Said(pax.Module):
    def __repr__(self):
        return "said\nso"


@dataclasses.dataclass
class Fields(pax.Module):
    size: int
    secret: str = dataclasses.field(repr=False)


class Unprintable:
    def __repr__(self):
        raise ValueError("no")


def test_static_values():
    module = pax.Module(name="top")
    module.part = functools.partial(jnp.sum, axis=0)
    module.cls = int
    module.long = "x" * 100
    module.bad = Unprintable()
    assert squeezed(repr(module)) == (
        f"(top) Module(part=partial(sum, axis=0), cls=int, long='{'x' * 56}..., "
        "bad=<Unprintable, whose repr raised ValueError>)"
    )
    assert repr(Fields(3, "password")) == "Fields(size=3)"


def test_a_repr_of_ones_own_is_kept():
    outer = pax.Module()
    outer.inner = Said()
    assert repr(outer) == "Module(inner=said so)"
    assert outer.summary(arrays=False) == "Module\n└── inner: said so"
    assert "inner:</span> said so" in outer._repr_html_()


def test_other_containers():
    module = pax.StateModule()
    module.d = OrderedDict(b=[jnp.ones(2), jnp.zeros(2), jnp.ones(2)], a=jnp.ones(()))
    module.e = Partial(jnp.add, jnp.ones(()))
    assert squeezed(repr(module)) == (
        "StateModule(d={'b': [3 x state float32[2]], 'a': state float32[] 1}, "
        "e=Partial((state float32[] 1,), {}))"
    )


def test_messages_name_modules_on_one_line():
    net = pax.nets.Transformer(4, 2, 1, rng_key=KEY)
    with pytest.raises(TypeError, match=r"for Transformer\(dim=4, [^\n]*\) it returned 1"):
        net.apply(lambda m: 1 if m is not None and isinstance(m, pax.nets.Transformer) else m)
