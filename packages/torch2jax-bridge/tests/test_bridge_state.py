"""State that a function uses up: after the inference it is as before, or its use is refused."""

import array
import collections
import contextvars
import csv
import ctypes
import functools
import io
import itertools
import multiprocessing
import os
import queue
import random
import sys
import tempfile
import types
import weakref

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from torch2jax_bridge import ShapeInferenceError, torch2jax

X = jnp.ones(2)
PUT_BACK = {}
REFUSED = {}
COUNT = 0
BY_TEXT = 0
STATE = types.ModuleType("state_of_a_test")
STATE.count, STATE.rows = 0, [1.0, 2.0, 3.0]


def put_back(make):
    """Note a function that makes another one, which draws on some state."""
    PUT_BACK[make.__name__] = make
    return make


def refused(make):
    REFUSED[make.__name__] = make
    return make


def numbers():
    return iter([2.0, 3.0, 5.0, 7.0, 11.0])


# Iterators in places that cannot be written to --------------------------------------------------------


@put_back
def in_a_tuple():
    t = (numbers(),)
    return lambda x: x * next(t[0])


@put_back
def in_nested_tuples_and_a_list():
    rows = numbers()
    t = [((rows, {"a": (rows,)}),)]
    return lambda x: x * next(t[0][0][0]) + next(t[0][0][1]["a"][0])


Pair = collections.namedtuple("Pair", ["a", "b"])


class WithMethod(Pair):
    def __call__(self, x):
        return x * next(self.a) + self.b

    def method(self, x):
        return self(x)


@put_back
def in_a_named_tuple():
    pair = Pair(numbers(), 1.0)
    return lambda x: x * next(pair.a) + pair.b


@put_back
def in_a_tuple_that_is_called():
    return WithMethod(numbers(), 1.0)


@put_back
def in_a_tuple_whose_method_is_called():
    return WithMethod(numbers(), 1.0).method


@put_back
def in_a_set():
    s, f = {numbers()}, frozenset({numbers()})
    return lambda x: x * next(next(iter(s))) + next(next(iter(f)))


@put_back
def as_a_key():
    d = {numbers(): 1.0}
    return lambda x: x * next(next(iter(d)))


@put_back
def in_a_deque():
    d = collections.deque([0, numbers()])
    return lambda x: x * next(d[1])


@put_back
def bound_by_partial():
    return functools.partial(lambda it, x: x * next(it), numbers())


@put_back
def bound_by_partial_by_name():
    return functools.partial(lambda x, it: x * next(it), it=numbers())


@put_back
def partial_of_next():
    draw = functools.partial(next, numbers())
    return lambda x: x * draw()


@put_back
def bound_method_of_an_iterator():
    draw = numbers().__next__
    return lambda x: x * draw()


@put_back
def in_a_keyword_default():
    def function(x, *, it=numbers()):
        return x * next(it)

    return function


@put_back
def in_a_default_tuple():
    def function(x, its=(numbers(),)):
        return x * next(its[0])

    return function


@put_back
def class_attribute():
    class Holder:
        it = numbers()
        count = 0

    class Inner(Holder):
        pass

    def function(x):
        Holder.count += 1
        Inner.own = getattr(Inner, "own", 0) + 1
        return x * next(Inner.it) + Holder.count + Inner.own

    return function


@put_back
def attribute_of_a_metaclass():
    class Meta(type):
        count = 0

    class Holder(metaclass=Meta):
        pass

    def function(x):
        Meta.count += 1
        return x * Holder.count

    return function


@put_back
def private_slots():
    class Holder:
        __slots__ = ("__rows", "t")

        def __init__(self):
            self.__rows = numbers()
            self.t = (numbers(),)

        def __call__(self, x):
            return x * next(self.__rows) + next(self.t[0])

    return Holder()


@put_back
def iterator_in_python():
    class Rows:
        def __init__(self, rows):
            self.rows, self.n = rows, 0

        def __iter__(self):
            return self

        def __next__(self):
            self.n += 1
            return next(self.rows) + self.n

    rows = (Rows(numbers()),)
    return lambda x: x * next(rows[0])


@put_back
def iterator_in_python_with_slots():
    class Rows:
        __slots__ = ("n",)

        def __init__(self):
            self.n = 0

        def __next__(self):
            self.n += 1
            return self.n

    rows = Rows()
    return lambda x: x * next(rows)


@put_back
def subclass_of_map():
    class Counted(map):
        count = 0

        def __next__(self):
            Counted.count += 1
            return super().__next__() + Counted.count

    rows = Counted(float, numbers())
    return lambda x: x * next(rows)


@put_back
def map_with_side_effects():
    seen = []

    def h(row):
        seen.append(row)
        return row + len(seen)

    rows = map(h, [1.0, 2.0, 3.0])
    return lambda x: x * next(rows) + len(seen)


@put_back
def until_a_sentinel():
    rows = [1.0, 2.0, 3.0]
    it = iter(rows.pop, None)
    return lambda x: x * next(it)


@put_back
def iterators_over_what_is_changed():
    rows = [1.0]
    it = iter(rows)

    def function(x):
        rows.append(rows[-1] + 1)
        return x * next(it)

    return function


@put_back
def iterators_in_iterators():
    rows = numbers()
    nested = iter([rows, iter([7.0, 11.0])])
    both = zip(rows, itertools.count(3), strict=False)
    return lambda x: x * sum(next(both)) + sum(map(next, nested))


@put_back
def static_arguments():
    inner = numbers()
    return functools.partial(lambda t, x: x * next(t[0]["a"]), ({"a": inner},))


@put_back
def cached_iterator():
    @functools.cache
    def rows():
        return numbers()

    rows()
    return lambda x: x * next(rows())


# Containers, caches, counters -------------------------------------------------------------------------


@put_back
def taken_from_containers():
    d, rows, m = collections.deque([1.0, 2.0, 3.0]), [1.0, 2.0, 3.0], {1: 2.0, 2: 3.0, 3: 5.0}
    ordered = collections.OrderedDict(m)
    return lambda x: x * d.popleft() + rows.pop() + m.popitem()[1] + ordered.popitem(last=False)[1]


@put_back
def moved_to_the_end():
    ordered = collections.OrderedDict.fromkeys([2.0, 3.0, 5.0])

    def function(x):
        ordered.move_to_end(next(iter(ordered)))
        return x * next(iter(ordered))

    return function


@put_back
def taken_from_sets():
    small, large, copied = {8, 0, 16}, {17, 2, 35, 50, 68}, set({17, 2, 35, 50, 68})
    return lambda x: x * small.pop() + large.pop() + 100 * copied.pop()


@put_back
def popleft_itself():
    take = collections.deque([1.0, 2.0]).popleft
    return lambda x: x * take()


@put_back
def numbers_of_c():
    numbers = array.array("d", [1.0, 2.0, 3.0])
    count, shared = ctypes.c_int(0), multiprocessing.Value("i", 0)

    def function(x):
        count.value += 1
        shared.value += 1
        return x * numbers.pop() + count.value + shared.value

    return function


@put_back
def array_of_objects():
    rows = np.array([[1.0, 2.0], None], dtype=object)

    def function(x):
        rows[1] = (rows[1] or 0) + 1
        return 2 * x * rows[0].pop() + rows[1]

    return function


@put_back
def weakly_referenced():
    class Holder:
        n = 0

    holder, others, values = Holder(), weakref.WeakKeyDictionary(), weakref.WeakSet()
    reference, other = weakref.ref(holder), Holder()
    others[other] = 1
    values.add(third := Holder())

    def function(x, kept=(weakref.proxy(holder),)):
        reference().n += 1
        for each in (*others, *values):
            each.n += 1
        return x * reference().n + other.n + third.n

    function.holder = holder
    return function


@put_back
def behind_proxies_and_views():
    class Holder:
        n = 0

        def __call__(self):
            self.n += 1
            return self.n

    held, called, raw = Holder(), Holder(), bytearray(2)
    proxy, call, view = weakref.proxy(held), weakref.proxy(called), memoryview(raw)

    def function(x):
        proxy.n += 1
        view[0] += 1
        return x * proxy.n + call() + view[0]

    keep = [held, called]
    weakref.finalize(function, keep.clear)
    return function


@put_back
def keys_with_state():
    class Key:
        n = 0

    keys = {Key(): 1.0}

    def function(x):
        for key in keys:
            key.n += 1
        return x * sum(key.n for key in keys)

    return function


@put_back
def read_only_view():
    view = types.MappingProxyType({"n": [1.0, 2.0]})
    return lambda x: x * view["n"].pop()


@put_back
def context_variables():
    count, rows = contextvars.ContextVar("count"), contextvars.ContextVar("rows")
    rows.set([1.0, 2.0])

    def function(x):
        count.set(count.get(0) + 1)
        return 2 * x * count.get() + rows.get().pop()

    return function


@put_back
def caches_of_python_values():
    ids = itertools.count(1)

    @functools.cache
    def unbounded(n):
        return [next(ids)]

    @functools.lru_cache
    def bounded(n):
        return next(ids)

    def function(x):
        unbounded(3)[0] += 1
        return x * unbounded(3)[0] + 10 * bounded(4) + 100 * next(ids)

    return function


@put_back
def cached_before():
    ids = itertools.count(1)
    cached = functools.cache(lambda n: [next(ids)])
    cached(1)

    def function(x):
        cached(1)[0] += 1
        return x * cached(1)[0] + 10 * cached(2)[0]

    return function


@put_back
def global_by_its_text():
    globals()["BY_TEXT"] = 0
    globals().pop("BY_NEW_TEXT", None)

    def function(x):
        globals()["BY_TEXT"] += 1
        globals()["BY_NEW_TEXT"] = globals().get("BY_NEW_TEXT", 0) + 1
        return x * globals()["BY_TEXT"] + globals()["BY_NEW_TEXT"]

    return function


class OneSlot:
    __slots__ = ("held",)


class BehindAProperty(OneSlot):  # as mpmath's constants, which every program with SymPy reaches
    __slots__ = ()
    slot = OneSlot.held

    @property
    def held(self):
        return "no setter"


@put_back
def slot_behind_a_property():
    state = BehindAProperty()
    BehindAProperty.slot.__set__(state, 1)

    def function(x):
        BehindAProperty.slot.__set__(state, state.slot + 1)
        return x * state.slot

    return function


IMPORTING = """
def function(x):
    import state_of_a_test
    from state_of_a_test import rows

    state_of_a_test.count += 1
    return 2 * x * state_of_a_test.count + rows.pop()
"""


@put_back
def global_of_an_imported_module():
    sys.modules["state_of_a_test"] = STATE
    STATE.count, STATE.rows = 0, [1.0, 2.0, 3.0]
    names = {}
    exec(IMPORTING, names)
    return names["function"]


# Files, generators of random numbers ------------------------------------------------------------------


@put_back
def file_in_memory():
    text, raw = io.StringIO("2\n3\n5\n"), io.BytesIO(b"7\n11\n13\n")

    def function(x):
        raw.seek(0, 1)
        return x * float(next(text)) + float(raw.readline())

    return function


OPENED = []


@pytest.fixture(autouse=True)
def closed():
    """Close the files of a test."""
    yield
    while OPENED:
        OPENED.pop().close()


def file_of_numbers():
    file = tempfile.TemporaryFile("w+")  # noqa: SIM115
    file.write("2\n3\n5\n")
    file.seek(0)
    OPENED.append(file)
    return file


@put_back
def file_on_disk():
    held = (file_of_numbers(),)
    rows = map(float, file_of_numbers())
    return lambda x: x * float(held[0].readline()) + next(rows)


@put_back
def random_generators():
    python, legacy = random.Random(0), np.random.RandomState(0)
    new, bits, torch_ = np.random.default_rng(0), np.random.PCG64(0), torch.Generator()
    torch_.manual_seed(0)

    def function(x):
        total = python.random() + legacy.rand() + new.random() + bits.random_raw() % 97
        return x * total + torch.rand(2, generator=torch_)

    return function


@put_back
def seeds():
    seed = np.random.SeedSequence(0)
    return lambda x: x * float(seed.spawn(1)[0].generate_state(1)[0] % 9973)


# Refused ------------------------------------------------------------------------------------------


def generator():
    yield from (2.0, 3.0, 5.0)


@refused
def generator_in_a_closure():
    rows = generator()
    return lambda x: x * next(rows)


@refused
def generator_in_a_tuple():
    rows = (generator(),)
    return lambda x: x * next(iter(rows[0]))


@refused
def method_of_a_generator():
    send = generator().send
    return lambda x: x * send(None)


@refused
def map_over_a_generator():
    rows = map(float, generator())
    return lambda x: x * next(rows)


@refused
def queues():
    numbers = queue.Queue()
    for number in (2.0, 3.0):
        numbers.put(number)
    return lambda x: x * numbers.get()


@refused
def method_of_a_queue():
    numbers = queue.PriorityQueue()
    numbers.put(2.0)
    get = numbers.get
    return lambda x: x * get()


@refused
def simple_queue():
    numbers = queue.SimpleQueue()
    numbers.put(2.0)
    return lambda x: x * numbers.get()


@refused
def pipe():
    OPENED.extend(ends := multiprocessing.Pipe(duplex=False))
    reading, writing = ends
    writing.send(2.0)
    return functools.partial(lambda end, x, other: x * end.recv(), reading, other=writing)


@refused
def file_of_a_pipe():
    reading, writing = os.pipe()
    os.write(writing, b"2\n3\n")
    os.close(writing)
    OPENED.append(file := open(reading))  # noqa: SIM115
    return lambda x: x * float(file.readline())


@refused
def rows_of_a_table():
    rows = csv.reader(["2", "3"])
    return lambda x: x * float(next(rows)[0])


def values(results):
    return [np.asarray(result).tolist() for result in results]


@pytest.mark.parametrize("kind", PUT_BACK)
def test_bridge_inference_uses_up_nothing(kind):
    function = PUT_BACK[kind]()
    expected = values([function(torch.ones(2)) for _ in range(2)])
    assert expected[0] != expected[1]  # or nothing would be shown
    function = PUT_BACK[kind]()
    torch2jax(function, X)
    torch2jax(function, X, infer="run")
    assert values([function(torch.ones(2)) for _ in range(2)]) == expected


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("infer", ["fake", "run"])
def test_bridge_inference_refuses_to_use_up(kind, infer):
    expected = values([REFUSED[kind]()(torch.ones(2))])
    function = REFUSED[kind]()
    with pytest.raises(
        ShapeInferenceError, match=r"uses a \S+ that it has captured, which .* pass output_shapes="
    ):
        torch2jax(function, X, infer=infer)
    assert values([function(torch.ones(2))]) == expected


def test_bridge_state_counts_the_calls():
    functions = [make() for make in PUT_BACK.values()]
    expected = [values([f(torch.ones(2)) for _ in range(2)]) for f in functions]

    def all_of_them(x, functions):
        return [function(x) for function in functions]

    functions = [make() for make in PUT_BACK.values()]
    wrapped = torch2jax(functools.partial(all_of_them, functions=functions))
    found = [values(wrapped(X)), values(wrapped(X))]
    assert [list(pair) for pair in zip(*found, strict=True)] == expected


@pytest.mark.parametrize("make", [numbers, generator])
def test_bridge_inference_and_iterators_as_arguments(make):
    def function(x, rows, times):
        return x * sum(next(rows) for _ in range(times))

    if make is generator:
        with pytest.raises(
            ShapeInferenceError, match=r"uses a builtins.generator .* its arguments"
        ):
            torch2jax(function)(X, rows := make(), 2)
        assert torch2jax(function, output_shapes=X)(X, rows, times=2).tolist() == [5.0, 5.0]
    else:
        assert torch2jax(function)(X, rows := make(), 2).tolist() == [5.0, 5.0]
        assert next(rows) == 5.0


def test_bridge_what_is_only_held_is_not_refused():
    held = (generator(), queue.Queue(), sys.stdin, sys.stdout, random.SystemRandom())
    wrapped = torch2jax(lambda x: x * len(held))
    assert wrapped(X).tolist() == [5.0, 5.0]
