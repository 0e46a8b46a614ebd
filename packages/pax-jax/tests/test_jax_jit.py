"""pax_jax.jit: what it donates, compiles and refuses; update functions; scan."""

import gc
import threading
import warnings
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax


class Counter(pax.Module):
    def __init__(self):
        super().__init__()
        self.count = jnp.zeros((), jnp.int32)
        self.register_parameter("bias", jnp.ones(3))

    def __call__(self, x):
        self.count = self.count + 1
        return x + self.bias


def call(module, x):
    y = module(x)
    return module, y


X = np.ones(3, np.float32)


def test_it_computes_what_jax_computes():
    ours, y = pax.jit(call)(Counter(), X)
    theirs, expected = jax.jit(call)(Counter(), X)
    assert ours == theirs
    assert (y == expected).all()


READERS = {
    "gradients": (lambda net, other: pax.grad(lambda n: jnp.sum(n(X) ** 2))(net), 0),
    "an average": (lambda net, avg: jax.tree.map(jnp.add, net, avg), 0),
    "a changed copy": (lambda net, other: net.update(jax.tree.map(jnp.add, ~net, ~other)), 0),
    "the module": (lambda net, other: (net, other.bias), 0),
    "the other": (lambda net, other: other, 1),
}


@pytest.mark.parametrize("name", READERS)
def test_nothing_is_donated_that_is_not_asked_for(name):
    function, _ = READERS[name]
    net, other = Counter(), Counter()
    step = pax.jit(function)
    jax.block_until_ready([step(net, other), step(net, other)])
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((net, other)))


@pytest.mark.parametrize("how", ["number", "name", "by name"])
@pytest.mark.parametrize("jit", [jax.jit, pax.jit], ids=["jax.jit", "pax.jit"])
def test_what_is_asked_for_is_donated(jit, how):
    options = {
        "number": {"donate_argnums": 0},
        "name": {"donate_argnames": "module"},
        "by name": {"donate_argnames": ["module"]},
    }[how]

    def call(module, x):
        y = module(x)
        return module, y

    module, x = Counter(), jnp.asarray(X)
    step = jit(call, **options)
    changed, _ = step(module=module, x=x) if how == "by name" else step(module, x)
    assert (module.count.is_deleted(), module.bias.is_deleted()) == (True, True)
    assert not x.is_deleted()
    assert int(changed.count) == 1


def test_a_donated_module_that_changes_and_does_not_come_back_gets_new_arrays():
    module = Counter()
    old = module.count, module.bias
    step = pax.jit(lambda module, x: module(x), donate_argnums=0)
    for _ in range(3):
        step(module, X)
    assert all(array.is_deleted() for array in old)
    assert (int(module.count), module.bias.tolist()) == (3, [1.0] * 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"donate_argnums": 2}, "jit: donate_argnums contains 2, but the function takes 2"),
        ({"donate_argnames": "y"}, "jit: donate_argnames contains 'y', but the function has no"),
        ({"donate_argnums": 0, "static_argnames": "module"}, "argument 0 is static and donated"),
    ],
    ids=["number", "name", "static"],
)
def test_a_donated_argument_that_cannot_be_raises(options, message):
    with pytest.raises(ValueError, match=message):
        pax.jit(lambda module, x: module, **options)


def test_shardings_of_arguments_and_results():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    along = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    module = Counter()
    layout = pax.sharding.shardings(module, mesh, [("bias", jax.sharding.PartitionSpec("data"))])

    def step(times, module, x):
        y = module(x)
        return module, y * times

    options = {"in_shardings": (layout, along), "out_shardings": (layout, whole)}
    ours = pax.jit(step, static_argnums=0, **options)(2, module, X)
    theirs = jax.jit(step, static_argnums=0, **options)(2, module, X)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.sharding == b.sharding
        assert (a == b).all()
    text = pax.jit(step, static_argnums=0, **options).lower(2, module, X).as_text()
    assert "sharding" in text
    with pytest.raises(ValueError, match="jit: in_shardings must be a prefix of the tuple"):
        pax.jit(step, in_shardings=(along,))(2, module, X)
    with pytest.raises(ValueError, match="jit: out_shardings must be a prefix of the result"):
        pax.jit(step, out_shardings=(along, along, along))(2, module, X)


@pytest.mark.parametrize("static", [False, True])
def test_stages_take_the_arguments_of_the_function(static):
    def step(module, x, times):
        y = module(x)
        return {"y": y * times}

    options = {"static_argnums": 2} if static else {}
    module = Counter()
    traced = pax.jit(step, **options).trace(module, X, 2)
    assert traced.out_info["y"].shape == (3,)
    compiled = traced.lower().compile()
    assert compiled.out_info["y"].shape == (3,)
    times = () if static else (2,)
    for count in (1, 2):
        assert compiled(module, X, *times)["y"].tolist() == [4.0] * 3
        assert int(module.count) == count
    assert "flops" in compiled.cost_analysis()
    with pytest.raises(TypeError, match="called with arguments of another structure"):
        compiled(module, [X], *times)


def test_a_module_and_its_methods_are_functions():
    module = Counter()
    for function in (pax.jit(module), pax.jit(module.__call__)):
        before = int(module.count)
        assert function(X).tolist() == (module.bias + X).tolist()
        module.bias = module.bias * 2.0
        assert function(X).tolist() == (module.bias + X).tolist()
        assert int(module.count) == before + 2


def test_a_stateful_loop_of_a_thousand_steps_compiles_once():
    traces = []

    @pax.jit
    def step(module, x):
        traces.append(1)
        grads, module = pax.grad(lambda m: (jnp.sum(m(x) ** 2), m), has_aux=True)(module)
        return module.update(jax.tree.map(lambda p, g: p - 1e-3 * g, ~module, grads))

    module = Counter()
    for _ in range(1000):
        module = step(module, X)
    assert len(traces) == 1
    assert int(module.count) == 1000


def test_it_traces_again_for_other_shapes_structures_and_keywords_only():
    traces = []

    @pax.jit
    def f(module, x, *, scale=1.0):
        traces.append(1)
        return module(x) * scale if module.training else x

    module = Counter()
    for _ in range(2):
        f(module, X)
        f(module, np.ones((1, 3), np.float32)[0])
        f(module, np.ones(1, np.float32))
        f(module.eval(), X)
        f(module, X, scale=2.0)
    assert len(traces) == 4


def test_results_may_differ_in_structure_by_shape():
    @pax.jit
    def f(x):
        return {"small": x} if x.shape[0] < 3 else [x, None, 1.0]

    assert f(np.ones(2, np.float32)).keys() == {"small"}
    x, none, one = f(X)
    assert (x.tolist(), none, float(one)) == ([1.0] * 3, None, 1.0)
    assert f(np.ones(2, np.float32)).keys() == {"small"}


@pytest.mark.parametrize(
    "options",
    [{"static_argnums": 1}, {"static_argnums": (-1,)}, {"static_argnames": "times"}],
    ids=str,
)
def test_static_arguments(options):
    traces = []

    @pax.jit(**options)
    def repeat(x, times):
        traces.append(times)
        return [x] * times

    by_name = "static_argnames" in options
    for times in (2, 3, 2):
        result = repeat(X, times=times) if by_name else repeat(X, times)
        assert len(result) == times
    assert traces == [2, 3]
    lowered = repeat.lower(X, times=2) if by_name else repeat.lower(X, 2)
    assert "func" in lowered.as_text()


@pytest.mark.parametrize("jit", [jax.jit, pax.jit], ids=["jax", "pax_jax"])
@pytest.mark.parametrize(
    ("options", "arguments", "keywords"),
    [
        ({"static_argnames": "times"}, (X, 3), {}),
        ({"static_argnums": 1}, (X,), {"times": 3}),
        ({"static_argnums": (1,), "static_argnames": ("times",)}, (X, 3), {}),
    ],
    ids=["a name, by position", "a number, by name", "both"],
)
def test_a_static_argument_is_one_however_it_is_passed(jit, options, arguments, keywords):
    def repeat(x, times):
        return [x] * times

    assert len(jit(repeat, **options)(*arguments, **keywords)) == 3


@pytest.mark.parametrize("jit", [jax.jit, pax.jit], ids=["jax", "pax_jax"])
@pytest.mark.parametrize(
    "options", [{"static_argnames": "count"}, {"static_argnums": 2}], ids=["name", "number"]
)
def test_a_static_argument_that_the_function_does_not_have_raises(jit, options):
    with pytest.raises(ValueError, match="argn"):
        jit(lambda x, times: x, **options)


def test_a_static_argument_that_cannot_be_hashed_raises():
    f = pax.jit(lambda x, sizes: x, static_argnames="sizes")
    with pytest.raises(ValueError, match=r"static argument 1 is \[2\] of type list"):
        f(X, [2])


def test_an_argument_beside_static_ones_is_named_by_its_number():
    f = pax.jit(lambda times, x: x, static_argnums=0)
    with pytest.raises(TypeError, match="The argument 1 of"):
        f(3, "text")


def test_statics_that_are_equal_but_of_another_type_are_told_apart():
    f = pax.jit(lambda x, k: str(type(k)) == "<class 'bool'>", static_argnums=1)
    assert (bool(f(X, 1)), bool(f(X, True))) == (False, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"a": ["text"]},), r"argument 0 of 'f' at \['a'\]\[0\] is 'text' of type str, which is"),
        ((X, jnp.tanh), r"argument 1 of 'f' is <.*no array, number or module\. Name it in static"),
    ],
    ids=["text", "function"],
)
def test_an_argument_that_is_no_array_raises(arguments, message):
    def f(*args):
        return args

    with pytest.raises(TypeError, match=message):
        pax.jit(f)(*arguments)


def test_an_array_that_is_to_be_donated_twice_raises():
    module = Counter()
    swap = pax.jit(lambda a, b: (b, a), donate_argnums=(0, 1))
    with pytest.raises(
        ValueError, match=r"argument \[0\]\.count and argument \[1\]\.count are one"
    ):
        swap(module, module.copy())
    assert module.bias.tolist() == [1.0] * 3
    assert swap(module, Counter())[1] == Counter()


class Checked:
    """A pytree that holds its array, or what becomes one, under a module's eyes."""

    def __init__(self, x):
        self.x = jnp.asarray(x)
        if not jnp.issubdtype(self.x.dtype, jnp.floating):
            raise TypeError(f"Expected floating point numbers, got {self.x.dtype}.")


jax.tree_util.register_pytree_with_keys(
    Checked,
    lambda node: (((jax.tree_util.GetAttrKey("x"), node.x),), None),
    lambda _, children: Checked(*children),
)


def test_a_class_may_check_and_convert_what_it_holds():
    assert pax.jit(lambda node: node.x)(Checked(X)).tolist() == [1.0] * 3
    module, other = Counter(), Checked(X)
    pax.jit(lambda node, module: (node, module), donate_argnums=1)(other, module)
    assert module.bias.is_deleted()
    assert not other.x.is_deleted()


def test_a_module_of_such_classes_is_donated():
    module = pax.Module()
    module.register_state_subtree("held", Checked(X))
    array = module.held.x
    step = pax.jit(lambda module: module, donate_argnums=0)
    step(module)
    assert array.is_deleted()
    twice = pax.Module()
    twice.register_state_subtree("held", [Checked(X)] * 2)
    with pytest.raises(ValueError, match=r"held\[0\]\.x and argument \[0\]\.held\[1\]\.x are one"):
        step(twice)


def test_an_error_of_a_call_is_not_taken_for_a_second_donation():
    def fail(_):
        raise OSError("no such file")

    @pax.jit
    def f(module, x, y):
        return module, jax.pure_callback(fail, jax.typeof(x), x) + y

    with pytest.raises(jax.errors.JaxRuntimeError, match="no such file"):
        jax.block_until_ready(f(Counter(), X, X))


def test_it_nests_in_the_transformations_of_jax():
    f = pax.jit(lambda module, x: jnp.sum(module(x) ** 2))
    grads = jax.grad(lambda module, x: f(module, x), allow_int=True)(Counter(), X)
    assert grads.bias.tolist() == [4.0] * 3
    assert jax.vmap(lambda x: f(Counter(), x))(np.ones((5, 3), np.float32)).shape == (5,)
    assert float(jax.jit(f)(Counter(), X)) == 12.0


def test_it_is_a_method_in_a_class():
    class Doubler(Counter):
        @pax.jit
        def double(self, x):
            return 2.0 * x * self.bias

    assert Doubler().double(X).tolist() == [2.0] * 3
    assert Doubler.double.__name__ == "double"


def test_no_tracer_leaks():
    with jax.checking_leaks():
        module, _ = pax.jit(call)(Counter(), X)
        module(jnp.asarray(X))
    assert int(module.count) == 2


def test_threads_share_one_program():
    traces, results = [], []

    @pax.jit
    def step(module, x):
        traces.append(1)
        module(x)
        return module

    def work():
        module = Counter()
        for _ in range(20):
            module = step(module, X)
        results.append(int(module.count))

    first, *others = [threading.Thread(target=work) for _ in range(5)]
    first.start()
    first.join()
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    assert results == [20] * 5
    assert len(traces) == 1


class Descent(pax.Optimizer):
    def __init__(self):
        super().__init__()
        self.steps = jnp.zeros((), jnp.int32)

    def step(self, grads, model):
        self.steps = self.steps + 1
        return model | jax.tree.map(lambda p, g: p - 0.1 * g, ~model, grads)


def loss_fn(model, x, scale=1.0):
    loss = scale * jnp.sum(model(x) ** 2)
    return loss, ({"loss": loss}, model)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, pax.jit], ids=["plain", "jax.jit", "jit"])
def test_an_update_function_makes_a_step(wrap):
    model, optimizer, aux = wrap(pax.build_update_fn(loss_fn))(Counter(), Descent(), X, scale=0.5)
    assert model.bias.tolist() == pytest.approx([0.8] * 3)
    assert (int(model.count), int(optimizer.steps), float(aux["loss"])) == (1, 1, 6.0)


def test_an_update_function_leaves_its_arguments_alone():
    model, optimizer = Counter(), Descent()
    pax.build_update_fn(loss_fn)(model, optimizer, X)
    assert (int(model.count), int(optimizer.steps), model.bias[0]) == (0, 0, 1.0)


def test_an_update_function_in_scan_mode_is_scanned():
    update = pax.build_update_fn(loss_fn, scan_mode=True)
    batches = np.zeros((7, 3), np.float32)
    (model, optimizer), aux = pax.scan(update, (Counter(), Descent()), batches)
    assert (int(model.count), int(optimizer.steps)) == (7, 7)
    assert aux["loss"].shape == (7,)
    assert aux["loss"][-1] < aux["loss"][0]


@pytest.mark.parametrize(
    ("arguments", "function", "error", "message"),
    [
        ((1, Descent()), loss_fn, TypeError, "update expects a module as model, got int"),
        ((Counter(), 1), loss_fn, TypeError, "update expects an optimizer that is a module with"),
        ((Counter(), Counter()), loss_fn, TypeError, "such as `opax.adam.* got Counter"),
        (
            (Counter(), Descent()),
            lambda model, x: (jnp.sum(model(x)), model),
            ValueError,
            r"expects a loss function that returns \(loss, \(aux, model\)\)",
        ),
        (
            (Counter(), Descent()),
            lambda model, x: (jnp.sum(model(x)), (None, model.eval())),
            ValueError,
            r"with the model it was given",
        ),
    ],
    ids=["model", "optimizer", "step", "aux", "structure"],
)
def test_an_update_function_says_what_it_expects(arguments, function, error, message):
    with pytest.raises(error, match=message):
        pax.build_update_fn(function)(*arguments, X)


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 3)], ids=str)
def test_scan_over_the_second_axis(shape):
    xs = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    add = lambda total, x: (total + x, {"sum": total + x})  # noqa: E731
    total, ys = pax.scan(add, jnp.zeros(shape[:1] + shape[2:]), xs, time_major=False)
    assert ys["sum"].shape == shape
    np.testing.assert_allclose(ys["sum"], np.cumsum(xs, axis=1))
    np.testing.assert_allclose(total, xs.sum(1))


def test_scan_without_inputs_and_with_unrolling():
    module, ys = pax.scan(lambda m, _: (m, m(X)), Counter(), None, length=4, unroll=2)
    assert int(module.count) == 4
    assert ys.shape == (4, 3)


@pytest.mark.parametrize(
    ("function", "xs", "what"),
    [
        (lambda c, x: (c, c), np.ones(3, np.float32), "xs"),
        (lambda c, x: (c, jnp.zeros(())), np.ones((2, 3), np.float32), "the outputs"),
    ],
    ids=["inputs", "outputs"],
)
def test_scan_over_a_second_axis_that_is_not_there_raises(function, xs, what):
    with pytest.raises(ValueError, match=rf"time_major=False\) expects {what} of shape .* \(3,\)"):
        pax.scan(function, jnp.zeros(()), xs, time_major=False)


def test_a_sequence_of_keys():
    keys = pax.RngSeq(seed=1)
    first, second = keys.next_rng_key(), keys.next_rng_key()
    assert first != second
    assert pax.RngSeq(seed=1).next_rng_key() == first
    assert pax.RngSeq(rng_key=jax.random.key(1)).next_rng_key() == first
    still = keys.eval()
    assert still.next_rng_key() == still.next_rng_key()
    assert len(
        {k.tobytes() for k in map(np.asarray, map(jax.random.key_data, keys.next_rng_key(3)))}
    )
    assert keys.parameters().rng_key is None
    with pytest.raises(ValueError, match="at least one key, got num_keys=0"):
        keys.next_rng_key(0)
    with pytest.raises(TypeError, match=r"RngSeq expects an int as seed, got 1\.5"):
        pax.RngSeq(seed=1.5)


def test_a_sequence_of_keys_passes_through_jit():
    @pax.jit
    def draw(keys):
        return keys, jax.random.normal(keys.next_rng_key(), (2,))

    keys = pax.RngSeq()
    keys, a = draw(keys)
    keys, b = draw(keys)
    assert (a != b).all()


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_modules_may_be_branches(transform):
    low, high, x = pax.Linear(2, 2), pax.Linear(2, 2), jnp.ones((1, 2))

    def choose(low, high, which, x):
        return pax.cond(which, low, high, x)

    for which, expected in ((True, low), (False, high)):
        np.testing.assert_allclose(transform(choose)(low, high, which, x), expected(x), rtol=1e-6)


@pytest.mark.parametrize("static", [None, "scale"])
def test_programs_are_counted_and_dropped(static):
    made = []

    def call(net, x, scale=2):
        made.append(1)
        return net(x) * scale

    net = pax.Linear(2, 3)
    compiled = pax.jit(call, static_argnames=static)
    assert compiled.cache_size() == 0
    for batch in (4, 4, 5):
        compiled(net, jnp.ones((batch, 2)), scale=2)
    compiled({"in a dict": net}["in a dict"], jnp.ones((4, 2)), scale=2)
    assert (compiled.cache_size(), len(made)) == (2, 2)
    compiled.clear_cache()
    assert compiled.cache_size() == 0
    compiled(net, jnp.ones((4, 2)), scale=2)
    assert (compiled.cache_size(), len(made)) == (1, 3)


def used(of_a_module):
    """Compile and call a function; return a weak reference to what it holds."""
    net, held, x = pax.Linear(2, 3), Held(), jnp.ones((4, 2))
    if of_a_module:
        pax.jit(net)(x)
        return weakref.ref(net)
    pax.jit(lambda net, x: net(x) if held else x)(net, x)
    return weakref.ref(held)


@pytest.mark.parametrize("of_a_module", [False, True])
def test_nothing_of_a_dropped_function_stays(of_a_module):
    left = used(of_a_module)
    gc.collect()
    assert left() is None


class Held:
    """What a closure holds."""


def test_a_static_number_of_every_call_is_named_once():
    step = pax.jit(lambda x, by: x, static_argnames="by")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for i in range(20):
            step(X, by=float(i))
    (warning,) = seen
    assert "argument 'by' was another number in each" in str(warning.message)


def test_programs_keep_no_functions_of_dropped_modules():
    def dropped():
        net = Counter()
        net.act = lambda x: x
        grads = pax.jit(pax.grad(lambda net: net.bias.sum()))(net)
        pax.cond(True, lambda net: net.bias, lambda net: net.bias, net)
        return weakref.ref(grads.act)

    references = [dropped() for _ in range(3)]
    gc.collect()
    assert not any(reference() for reference in references)
