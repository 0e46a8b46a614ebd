"""Arrays and modules that a static value carries along, and containers and arrays that JAX does not see."""

import argparse
import collections
import contextvars
import dataclasses
import enum
import functools
import operator
import queue
import types
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax
import pax_tree

GLOBAL = pax.Linear(2, 2, rng_key=jax.random.key(0))


def wrapped(function):
    return functools.wraps(function)(lambda *args: function(*args))


class Callable:
    def __init__(self, inner):
        self.inner = inner

    def __call__(self, x):
        return self.inner(x)


@dataclasses.dataclass
class Config:
    inner: object


# What makes a function of a function.
WRAPPERS = {
    "jit": jax.jit,
    "checkpoint": jax.checkpoint,
    "vmap": jax.vmap,
    "grad": jax.grad,
    "pax.jit": pax.jit,
    "pax.pure": pax.pure,
    "pax.grad": pax.grad,
    "custom_jvp": jax.custom_jvp,
    "wraps": wrapped,
    "closure": lambda f: lambda x: f(x),
    "nested": lambda f: lambda x: (lambda y: f(y))(x),
    "default": lambda f: lambda x, f=f: f(x),
    "partial": functools.partial,
    "cache": functools.lru_cache,
    "twice": lambda f: jax.jit(jax.vmap(functools.partial(f))),
    "object": Callable,
}

# What holds an object.
HOLDERS = {
    "dict": lambda f: {"f": f},
    "tuple": lambda f: (f, 1),
    "set": lambda f: {f},
    "dataclass": Config,
    "namespace": lambda f: types.SimpleNamespace(f=f),
    "arguments": lambda f: argparse.Namespace(f=f),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_function_of_a_module_is_refused_wherever_it_is_kept(wrap):
    class Net(pax.Module):
        def __init__(self, run):
            super().__init__()
            self.fc = pax.Linear(2, 2)
            self.run = wrap(self.forward) if run is None else run

        def forward(self, x):
            return self.fc(x)

    function = wrap(pax.Linear(2, 2))
    with pytest.raises(
        TypeError, match=r"Net\.run holds an array or a module where JAX cannot see"
    ):
        Net(None)
    with pytest.raises(TypeError, match=r"the module Linear"):
        Net(function)
    for make in (pax.Lambda, pax.Sequential, lambda f: pax.VanillaRNN(2, 2, activation=f)):
        with pytest.raises(TypeError, match="the module Linear"):
            make(function)
    with pytest.raises(TypeError, match="the module Linear"):
        pax.Sequential(pax.Identity())[0] = function


class Slots:
    __slots__ = ("__inner",)

    def __init__(self, inner):
        self.__inner = inner


def generator(function):
    yield
    yield function


def begun(made):
    next(made)
    return made


def filled(made, function):
    made.put(function)
    return made


# What of Python's own keeps an object where nobody looks.
KEEPERS = {
    "slots": Slots,
    "view of a dict": lambda f: types.MappingProxyType({"f": f}),
    "values": lambda f: {"f": f}.values(),
    "iterator": lambda f: iter([f]),
    "map": lambda f: map(print, [f]),
    "zip": lambda f: zip([f], [1], strict=True),
    "generator": lambda f: begun(generator(f)),
    "cell": types.CellType,
    "slice": slice,
    "context": lambda f: contextvars.ContextVar("f", default=f),
    "weak": weakref.ref,
    "methodcaller": lambda f: operator.methodcaller("__call__", f),
    "exception": ValueError,
    "queue": lambda f: filled(queue.Queue(), f),
    "class": lambda f: type("Net", (), {"net": f}),
    "object of a class": lambda f: type("Net", (), {"net": f})(),
}


@pytest.mark.parametrize("name", KEEPERS)
def test_a_module_is_found_in_what_python_keeps_it_in(name):
    with pytest.raises(TypeError, match=r"Module\.x holds .* the module Linear in"):
        pax.Module().x = KEEPERS[name](GLOBAL)
    pax.Module().x = KEEPERS[name](wrapped)


def test_a_weak_proxy_of_a_module_is_refused():
    for value in (weakref.proxy(GLOBAL), [weakref.proxy(GLOBAL)]):
        with pytest.raises(TypeError, match="is a weak proxy of the module Linear"):
            pax.Module().x = value


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_a_function_of_a_module_is_found_inside_other_values(hold):
    layer = pax.Linear(2, 2)
    for function in (jax.vmap(layer), lambda x: layer(x)):
        with pytest.raises(TypeError, match=r"Module\.x holds .* the module Linear in"):
            pax.Module().x = hold(function)


@pytest.mark.parametrize("partial", [jax.tree_util.Partial, pax_tree.Partial], ids=["jax", "pax"])
def test_a_partial_function_that_is_a_pytree_hides_no_module(partial):
    layer = pax.Linear(2, 2)
    for function in (layer, layer.__call__, jax.vmap(layer), lambda x: layer(x)):
        for value in (
            partial(function),
            [partial(function)],
            {"f": partial(function, jnp.ones(2))},
        ):
            with pytest.raises(TypeError, match=r"Module\.x holds .* the module Linear in"):
                pax.Module().x = value
        with pytest.raises(TypeError, match="the module Linear in"):
            pax.Lambda(lambda x, f=partial(function): f(x))
        with pytest.raises(TypeError, match="the module Linear in"):
            pax.Module().register_state_subtree("x", partial(function, jnp.ones(2)))
    module = pax.Module()
    module.register_state_subtree("x", partial(jnp.add, jnp.ones(2)))
    assert (module.x(1.0) == 2).all()


@pytest.mark.parametrize(
    "array", [jnp.ones(2), jax.random.key(0), np.ones(2), jax.new_ref(jnp.ones(2))], ids=repr
)
def test_a_closure_over_an_array_is_refused(array):
    with pytest.raises(TypeError, match=r"cannot see it: a.* as its variable 'array'"):
        pax.Lambda(lambda x: x + array)


def test_a_module_that_is_global_for_a_function_is_found():
    with pytest.raises(
        TypeError, match=r"the module Linear in the function .* as the global 'GLOBAL'"
    ):
        pax.Sequential(lambda x: GLOBAL(x))
    with pytest.raises(TypeError, match="as the global 'GLOBAL'"):
        pax.Sequential(lambda x: [GLOBAL(row) for row in x])
    pax.Lambda(lambda x: x.GLOBAL)  # an attribute of that name


def test_functions_without_arrays_stay_what_they_were():
    @dataclasses.dataclass(frozen=True)
    class Options:
        mean: float = 0.5

    options, later = Options(), None

    def recursive(x):
        return recursive(x) if later else x

    functions = (
        jax.nn.relu,
        jnp.tanh,
        jax.nn.initializers.lecun_normal(),
        jax.jit(lambda x: x - options.mean),
        functools.partial(jax.nn.gelu, approximate=False),
        recursive,
        str.upper,
        len,
    )
    for function in functions:
        module = pax.Module()
        module.function = function
        assert module.function is function
        assert pax.Lambda(function).func is function


@pytest.mark.parametrize(
    "value",
    [
        lambda layer: jax.jit(layer),
        lambda layer: staticmethod(jax.vmap(layer)),
        lambda layer: functools.partial(layer),
        lambda layer: layer.__call__,
    ],
    ids=["jit", "staticmethod", "partial", "method"],
)
def test_a_class_attribute_may_not_be_a_function_of_a_module(value):
    layer = pax.Linear(2, 2)
    with pytest.raises(
        TypeError, match=r"class attribute Net\.run is a function of the module Linear"
    ):
        type("Net", (pax.Module,), {"run": value(layer)})


def test_a_replaced_method_may_not_hide_a_module():
    other = pax.Linear(2, 2)
    with pytest.raises(TypeError, match=r"The method Linear\.__call__ holds .* the module Linear"):
        pax.Linear(2, 2).replace_method(__call__=lambda self, x: other(x))


class Value(pax.Module):
    def __init__(self, value, method=None):
        super().__init__()
        if method is None:
            self.value = value
        else:
            getattr(self, method)("value", value)


UNSEEN = {
    "deque": (lambda: collections.deque([pax.Linear(1, 1)]), r"value is a deque .* Use a list"),
    "deque inside": (
        lambda: {"a": [collections.deque([pax.Linear(1, 1)])]},
        r"value\['a'\]\[0\] is a deque",
    ),
    "keys": (
        lambda: {1: pax.Linear(1, 1), "a": pax.Linear(1, 1)},
        r"dict that JAX cannot take apart",
    ),
    "objects": (lambda: np.array([pax.Linear(1, 1)], object), "NumPy array of dtype object"),
    "strings": (lambda: np.array(["a"]), "NumPy array of dtype <U1"),
    "dates": (lambda: np.array(["2024-01-01"], "datetime64[D]"), "NumPy array of dtype datetime64"),
    "records": (lambda: np.zeros(2, [("a", "f4")]), "NumPy array of dtype"),
    "long double": (lambda: np.zeros(1, np.longdouble), "which JAX does not have"),
    "masked": (lambda: np.ma.masked_array([1.0], [True]), "masked array"),
    "ref": (lambda: jax.new_ref(jnp.zeros(())), r"a jax\.Ref"),
    "ref inside": (lambda: [jax.new_ref(jnp.zeros(()))], r"value\[0\] is a jax\.Ref|is a jax\.Ref"),
}


@pytest.mark.parametrize(("make", "message"), UNSEEN.values(), ids=UNSEEN)
def test_what_jax_does_not_see_is_refused_at_the_assignment(make, message):
    with pytest.raises(TypeError, match=message):
        Value(make())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: collections.deque([jnp.ones(1)]), r"value is a deque"),
        (lambda: {1: jnp.ones(1), "a": jnp.ones(1)}, "cannot take apart"),
        (lambda: [np.array([None])], r"value\[0\] is a NumPy array of dtype object"),
    ],
    ids=["deque", "keys", "objects"],
)
@pytest.mark.parametrize("method", ["register_state_subtree", "register_parameter_subtree"])
def test_what_jax_does_not_see_is_refused_when_it_is_registered(make, message, method):
    with pytest.raises(TypeError, match=message):
        Value(make(), method)


class Items(list):
    pass


class Names(dict):
    pass


class Some(tuple):
    __slots__ = ()


@pytest.mark.parametrize("array", [False, True], ids=["module", "array"])
@pytest.mark.parametrize(
    "hold",
    [
        lambda held: Items([held]),
        lambda held: Names(a=held),
        lambda held: Some([held]),
        lambda held: collections.Counter(a=held),
        lambda held: [Items([{"a": held}])],
    ],
)
def test_a_container_of_a_class_that_is_no_node_hides_nothing(hold, array):
    with pytest.raises(TypeError, match=r"Value\.value.*no pytree"):
        Value(hold(jnp.ones(1) if array else pax.Linear(1, 1)))


def test_a_function_that_was_put_into_a_list_later_is_refused_where_parameters_are_taken():
    class Net(pax.Module):
        def __init__(self):
            super().__init__()
            self.layers = [pax.Linear(2, 2), pax.Linear(2, 2)]

    net, inner = Net(), pax.Linear(2, 2)
    net.layers[1] = jax.nn.relu  # hides nothing
    assert net.parameters().layers[1] is None
    net.layers[0] = lambda x: inner(x)
    for take in (lambda: net.parameters(), lambda: pax.grad(lambda net: 1.0)(net), lambda: ~net):
        with pytest.raises(TypeError, match=r"Net\.layers\[0\] holds .* the module Linear in the"):
            take()


def test_what_was_filled_later_is_refused_by_scan_bugs():
    module = Value({"a": jnp.ones(1)}, "register_state_subtree")
    module.value[1] = jnp.ones(1)
    with pytest.raises(TypeError, match="cannot take apart"):
        module.scan_bugs()


@pytest.mark.parametrize(
    "make",
    [
        lambda: [pax.Linear(1, 1), (pax.Linear(1, 1),)],
        lambda: {"b": pax.Linear(1, 1), "a": [pax.Linear(1, 1)]},
        lambda: collections.OrderedDict(b=pax.Linear(1, 1), a=pax.Linear(1, 1)),
        lambda: collections.defaultdict(list, {2: [pax.Linear(1, 1)], 1: []}),
        lambda: jnp.ones(2, jnp.bfloat16),
        lambda: np.ones(2, jnp.bfloat16),
        lambda: np.ones(2, bool),
        lambda: jax.random.key(0),
    ],
)
def test_what_both_see_is_the_same_for_both(make):
    module = Value(make())
    ours, theirs = pax.Module.state_dict(module), jax.tree.leaves(module)
    assert [leaf is other for leaf, other in zip(ours.values(), theirs, strict=True)]
    assert len(ours) > 0


class Keeper:
    """Has a module behind a method, a property and a constant of its class."""

    def __init__(self, kept):
        self.kept = kept


def with_method(module):
    class Runs:
        def run(self, x):
            return module(x)

    return Runs


def with_property(module):
    class Has:
        @property
        def net(self):
            return module

    return Has()


def with_attribute(value, bases=(), metaclass=type):
    return metaclass("Keeps", bases, {"kept": value})


class Described:
    def __init__(self, module):
        self.module = module

    def __get__(self, instance, owner=None):
        return self.module


def as_enum(module):
    return enum.Enum("Nets", {"FIRST": module})


def as_python_module(module):
    made = types.ModuleType("nets")
    made.net = module
    return made


def helper(x):
    return GLOBAL(x)


LAYERS = [GLOBAL]
KEEPER = Keeper(GLOBAL)

# What leads to a module by its class, or by what is global for a function.
BY_CLASS = {
    "factory": lambda f: collections.defaultdict(lambda: f),
    "factory of a list": lambda f: [collections.defaultdict(lambda: f, a=1)],
    "factory beside modules": lambda f: collections.defaultdict(lambda: f, a=pax.Identity()),
    "class with a list": lambda f: with_attribute([f]),
    "base class with a dict": lambda f: type("Last", (with_attribute({"a": f}),), {})(),
    "metaclass": lambda f: with_attribute(1, (), with_attribute(f, (type,))),
    "descriptor": lambda f: with_attribute(Described(f))(),
    "partialmethod": lambda f: with_attribute(functools.partialmethod(lambda _, net: net, f))(),
    "enum": as_enum,
    "member of an enum": lambda f: as_enum(f).FIRST,
    "Python module": as_python_module,
    "class with a method": with_method,
    "object with a method": lambda f: with_method(f)(),
    "object with a property": with_property,
    "global function": lambda f: lambda x: helper(x),
    "global list": lambda f: lambda x: LAYERS[0](x),
    "global object": lambda f: lambda x: KEEPER.kept(x),
}


@pytest.mark.parametrize("name", BY_CLASS)
def test_a_module_is_found_behind_a_class_and_behind_globals(name):
    with pytest.raises(TypeError, match=r"Module\.x holds .* the module Linear in"):
        pax.Module().x = BY_CLASS[name](GLOBAL)
    pax.Module().x = types.MappingProxyType({"keeper": Keeper(jax.nn.relu), "numpy": np})


def test_containers_that_hold_themselves_are_walked_once():
    mapping = {}
    mapping["itself"] = mapping
    module = pax.Lambda(lambda x: x * len(mapping))
    assert module(2.0) == 2.0


def test_a_program_with_weights_is_refused_and_one_without_is_not():
    layer, x = pax.Linear(2, 2), jnp.ones((1, 2))
    function = jax.jit(lambda x, layer=layer: layer(x))
    exported, traced = jax.export.export(function)(x), function.trace(x)
    for program in (traced, traced.lower(), traced.lower().compile(), exported, exported.call):
        with pytest.raises(TypeError, match=r"_Kept\.held holds a \w+ of JAX, a program in which"):
            _Kept(program)
    with pytest.raises(TypeError, match=r"a (Closed)?Jaxpr of JAX"):
        _Kept(jax.make_jaxpr(lambda x: layer(x))(x))
    assert _Kept(jax.make_jaxpr(jnp.sin)(x)).held.consts == []


class _Kept(pax.Module):
    def __init__(self, held):
        super().__init__()
        self.held = held


def test_a_module_in_a_context_variable_is_refused():
    variable = contextvars.ContextVar("variable")
    variable.set(pax.Linear(2, 2))
    for value in (variable, lambda x: variable.get()(x)):
        with pytest.raises(TypeError, match="the module Linear"):
            _Kept(value)
