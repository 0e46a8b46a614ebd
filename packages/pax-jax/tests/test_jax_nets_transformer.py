"""The Transformer: what each position sees, padding, cached decoding, dropout."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pax_jax as pax

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def normal(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


OPTIONS = {
    "plain": {},
    "rotary": {"rotary_base": 100.0},
    "grouped": {"rotary_base": 100.0, "num_kv_heads": 1},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_cached_decoding_equals_the_full_forward(options):
    net = pax.nets.Transformer(8, 2, 2, **options)
    x = normal(3, 6, 8)

    @quick
    def both(net, x):
        caches = net.initial_cache(3, 6)
        caches, first = net.decode(caches, x[:, :3])

        def step(caches, token):
            caches, y = net.decode(caches, token[:, None])
            return caches, y[:, 0]

        caches, rest = jax.lax.scan(step, caches, jnp.swapaxes(x[:, 3:], 0, 1))
        decoded = jnp.concatenate([first, jnp.swapaxes(rest, 0, 1)], axis=1)
        _, late = net.decode(caches, x[:, :1])
        return net(x), decoded, caches, late

    whole, decoded, caches, late = both(net, x)
    close(decoded, whole)
    assert [int(cache.index) for cache in caches] == [6, 6]
    assert caches[0].key.shape == (3, 6, options.get("num_kv_heads", 2), 4)
    assert bool(jnp.isnan(late).all())


def test_a_position_sees_none_after_it_and_no_padding():
    causal = pax.nets.Transformer(8, 2, 2)
    both_ways = pax.nets.Transformer(8, 2, 2, is_causal=False)

    @quick
    def influences(causal, both_ways, x, mask):
        """Whether output i depends on input j."""

        def jacobian(net, mask):
            moved = jax.jacobian(lambda x: jnp.sin(net(x, mask)).sum(-1))(x)
            return jnp.abs(moved).sum(-1) > 0

        return jacobian(causal, None), jacobian(both_ways, None), jacobian(causal, mask)

    mask = jnp.array([True, True, False, True])
    seen, all_seen, masked = influences(causal, both_ways, normal(4, 8), mask)
    lower = np.tril(np.ones((4, 4), bool))
    assert (seen == lower).all()
    assert all_seen.all()
    assert (masked == ((lower & np.asarray(mask)) | np.eye(4, dtype=bool))).all()


def test_dropout_uses_up_its_keys_in_training_mode_only():
    net = pax.nets.Transformer(8, 2, 1, 0.5)

    @quick
    def twice(net, x):
        net, first = net % x
        net, second = net % x
        return first, second, net.eval()(x), net.eval()(x)

    first, second, quiet, again = twice(net, normal(2, 3, 8))
    assert bool((first != second).any())
    assert bool((quiet == again).all())


def test_wrong_arguments_raise():
    with pytest.raises(ValueError, match="num_heads=3 does not divide dim=8"):
        pax.nets.Transformer(8, 3, 1)
    with pytest.raises(ValueError, match="num_kv_heads=3 does not divide num_heads=4"):
        pax.MultiHeadAttention(4, 2, num_kv_heads=3)
    with pytest.raises(ValueError, match="Both w_init and w_init_scale"):
        pax.MultiHeadAttention(4, 2, 1.0, w_init=jax.nn.initializers.zeros)
    net = pax.nets.Transformer(8, 2, 1, is_causal=False)
    with pytest.raises(ValueError, match="no order to decode in"):
        net.decode(net.initial_cache(1, 4), jnp.ones((1, 1, 8)))
    attention = net.layers[0].attention
    with pytest.raises(ValueError, match="5 new positions do not fit into a cache of 4"):
        attention.decode(attention.initial_cache(1, 4), jnp.ones((1, 5, 8)))
    with pytest.raises(TypeError, match="mask is an array of bool, got one of float32"):
        attention(jnp.ones((1, 3, 8)), mask=jnp.ones((1, 1, 3, 3)))
    with pytest.raises(ValueError, match=r"4 in all for this query, got \(3, 3\)"):
        attention(jnp.ones((1, 3, 8)), mask=jnp.ones((3, 3), bool))
