"""Which arguments are static is decided as `jax.jit` decides it."""

import functools
import inspect

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pax_tree._static_args import StaticArguments

SIGNATURES = [
    "(x)",
    "(x, n)",
    "(x, n=1)",
    "(x, /, n=1)",
    "(x, n=1, /)",
    "(x, *, n=1)",
    "(x, n=1, *, k=2)",
    "(x, n=1, *rest)",
    "(*rest)",
    "(*rest, k=2)",
    "(only, /, **more)",  # a name that is also passed by name makes `jax.jit` fail
    "(x, n=1, *rest, k=2, **more)",
    "(**more)",
]
NAMES = ["x", "n", "k", "rest", "more", "other"]
numbers = st.one_of(
    st.none(), st.integers(-4, 4), st.lists(st.integers(-4, 4), max_size=3).map(tuple)
)
names = st.one_of(st.none(), st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3))
calls = st.tuples(
    st.lists(st.integers(1, 9), max_size=4),
    # An argument by the name of `*rest` makes `jax.jit` fail, which takes them for one.
    st.dictionaries(st.sampled_from(["x", "n", "k", "other"]), st.integers(1, 9), max_size=3),
)


@functools.cache
def function(signature):
    """A function that keeps its arguments in its attribute `seen`."""
    scope = {}
    exec(f"def f{signature}:\n    f.seen = dict(locals())\n    return 0", scope)
    return scope["f"]


def seen_by_jax(fun, argnums, argnames, args, kwargs):
    """What the function gets, with None for what is traced; an error's class if there is one."""
    fun.seen = None
    try:
        copy = functools.wraps(fun)(lambda *args, **kwargs: fun(*args, **kwargs))
        jax.jit(copy, static_argnums=argnums, static_argnames=argnames)(*args, **kwargs)
    except (TypeError, ValueError) as error:
        return type(error)
    tracer = jax.core.Tracer
    return jax.tree.map(lambda x: None if isinstance(x, tracer) else x, fun.seen)


def seen_by_us(fun, argnums, argnames, args, kwargs):
    try:
        statics = StaticArguments(fun, argnums, argnames, "jit")
        rest, named, static = statics.split(tuple(args), kwargs)
        rest, named = jax.tree.map(lambda _: None, (rest, named))
        args, kwargs = static.join(rest, named)
        fun(*args, **kwargs)
        bound = inspect.signature(fun).bind(*args, **kwargs)
    except (TypeError, ValueError) as error:
        return type(error)
    bound.apply_defaults()
    return dict(bound.arguments)


@pytest.mark.parametrize("signature", SIGNATURES)
@settings(max_examples=60)
@given(argnums=numbers, argnames=names, call=calls)
def test_the_same_arguments_are_static(signature, argnums, argnames, call):
    fun = function(signature)
    args, kwargs = call
    if any(ours_goes_further(fun, argnums, argnames, args)):
        return
    expected = seen_by_jax(fun, argnums, argnames, args, kwargs)
    assert seen_by_us(fun, argnums, argnames, args, kwargs) == expected


def ours_goes_further(fun, argnums, argnames, args):
    """Where JAX takes numbers and names as they are, here one completes the other."""
    yield argnums is not None and argnames is not None
    parameters = inspect.signature(fun).parameters.values()
    count = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    is_negative = argnums is not None and min(np.atleast_1d(argnums), default=0) < 0
    # A negative number is that of a parameter here; for JAX it counts from a call's last argument, and
    # where there is none, JAX 0.12 takes it and forgets it.
    yield is_negative and (len(args) != count or not args)


@pytest.mark.parametrize(
    ("argnums", "args"), [(1, (2, 3)), ((0, -1), (2, 3, 4)), (5, (2,))], ids=str
)
def test_a_function_without_a_signature(argnums, args):
    rest, named, static = StaticArguments(max, argnums, None, "jit").split(args, {})
    assert [i for i, _ in static.args] == [
        n % len(args) for n in np.atleast_1d(argnums) if n < len(args)
    ]
    assert static.join(rest, named) == (args, {})
    assert callable(jax.jit(max, static_argnums=argnums))


@pytest.mark.parametrize(
    "value",
    [np.float64(0.5), np.float32("nan"), np.float64("nan"), np.int8(3), np.datetime64("NaT", "s")],
)
def test_scalars_of_numpy(value):
    def static(value):
        return StaticArguments(lambda x: x, 0, None, "jit").split((value,), {})[2]

    assert static(value) == static(np.array(value)[()])
    assert static(np.float32(0.0)) != static(np.float32(-0.0))
    assert static(np.float32(1.0)) != static(np.float64(1.0))
    for array in (np.zeros(2), np.zeros(())):
        with pytest.raises(ValueError, match="of type ndarray; give a tuple"):
            static(array)
