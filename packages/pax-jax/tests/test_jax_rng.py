"""The stream of random keys."""

import threading

import jax
import pytest

import pax_jax as pax


def bits(key):
    return jax.random.key_data(key).tolist()


def test_keys_differ_and_a_seed_repeats_them():
    pax.seed_rng_key(7)
    first = [bits(pax.next_rng_key()) for _ in range(3)]
    pax.seed_rng_key(7)
    assert [bits(pax.next_rng_key()) for _ in range(3)] == first
    assert len({tuple(key) for key in first}) == 3


def test_threads_have_their_own_streams():
    pax.seed_rng_key(7)
    bits(pax.next_rng_key())
    second = {}

    def work(name):
        pax.seed_rng_key(7)
        second[name] = [bits(pax.next_rng_key()) for _ in range(2)]

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert second["a"] == second["b"]
    assert bits(pax.next_rng_key()) == second["a"][1]


@pytest.mark.parametrize("transform", [jax.jit, jax.grad, jax.vmap], ids=["jit", "grad", "vmap"])
def test_a_key_inside_a_transformation_raises(transform):
    with pytest.raises(RuntimeError, match=r"next_rng_key\(\) was called inside .*rng_key=key"):
        transform(lambda x: (pax.Linear(1, 1), x)[1])(jax.numpy.ones(3))


def test_a_stream_seeded_inside_a_transformation_stays_there():
    pax.seed_rng_key(1)
    expected = bits(pax.next_rng_key())
    pax.seed_rng_key(1)

    @jax.jit
    def make():
        pax.seed_rng_key(2)
        return pax.Linear(2, 2)

    with jax.checking_leaks():
        inside = make()
    assert bits(pax.next_rng_key()) == expected
    pax.seed_rng_key(2)
    assert inside == pax.Linear(2, 2)


@pytest.mark.parametrize("seed", [1.5, True, "a"])
def test_another_seed_raises(seed):
    with pytest.raises(TypeError, match="seed_rng_key expects an int, got"):
        pax.seed_rng_key(seed)


def test_a_key_as_seed_says_where_keys_go():
    with pytest.raises(TypeError, match="give it to the module itself: `rng_key=key`"):
        pax.seed_rng_key(jax.random.key(0))
