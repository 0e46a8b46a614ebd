"""The residual networks against those of dm-haiku on the same weights."""

import haiku as hk
import jax
import jax.numpy as jnp
import pytest

import pax_jax as pax
from tests.jax.layer_peers import close, made, normal, quick


def layers(net, root):
    """Haiku's name of every convolution and normalization of ours."""
    yield (
        f"{root}/~/initial_conv",
        f"{root}/~/initial_batchnorm",
        (net.initial_conv, net.initial_norm),
    )
    for i, group in enumerate(net.groups):
        for j, block in enumerate(group):
            place = f"{root}/~/block_group_{i}/~/block_{j}/~"
            for k, pair in enumerate(block.layers):
                yield f"{place}/conv_{k}", f"{place}/batchnorm_{k}", pair
            if block.projection is not None:
                yield f"{place}/shortcut_conv", f"{place}/shortcut_batchnorm", block.projection


def weights(net, root):
    found = {f"{root}/~/logits": {"w": net.logits.weight, "b": net.logits.bias}}
    for conv_name, norm_name, (conv, norm) in layers(net, root):
        found[conv_name] = {"w": conv.weight}
        found[norm_name] = {
            "scale": norm.scale.reshape(1, 1, 1, -1),
            "offset": norm.offset.reshape(1, 1, 1, -1),
        }
    return found


def statistics(net, root):
    """The averages of all normalizations under haiku's names."""
    return {
        f"{norm_name}/~/{name}_ema": getattr(norm, f"ema_{name}").reshape(1, 1, 1, -1)
        for _, norm_name, (_, norm) in layers(net, root)
        for name in ("mean", "var")
    }


def fresh(net):
    """No averages yet, as in a new network."""

    def reset(module):
        if isinstance(module, pax.BatchNorm2D):
            for name in ("ema_mean", "ema_var", "ema_weight"):
                setattr(module, name, jnp.zeros_like(getattr(module, name)))

    for _, _, (_, norm) in layers(net, ""):
        reset(norm)
    return net


def check(make, build, root, size, gradients):
    """Compare two steps of training, the averages after them, and an evaluation."""
    net = fresh(made(make, mean=0.0))
    peer = hk.without_apply_rng(hk.transform_with_state(lambda *args: build()(*args)))
    # Two examples, normalized over one pixel as at the end of a small net, would magnify rounding.
    x = normal(0, 8 if gradients else 2, size, size, 3)

    @quick
    def ours(net, x):
        with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):

            def loss(params, net):
                net = net.update(params)
                first = net(x)
                return jnp.sin(first).sum(), (net, first)

            run = jax.value_and_grad(loss, has_aux=True) if gradients else without_gradient(loss)
            (_, (net, first)), grads = run(net.parameters(), net)
            second = net(2.0 * x)
            last = net.eval()(x)
        return (first, second, last), statistics(net, root), weights(grads, root)

    @quick
    def theirs(params, state, x):
        def loss(params, state):
            first, state = peer.apply(params, state, x, True)
            return jnp.sin(first).sum(), (state, first)

        run = jax.value_and_grad(loss, has_aux=True) if gradients else without_gradient(loss)
        (_, (state, first)), grads = run(params, state)
        second, state = peer.apply(params, state, 2.0 * x, True)
        last, _ = peer.apply(params, state, x, False)
        averages = {name: ema["average"] for name, ema in state.items()}
        return (first, second, last), averages, grads

    shapes, states = jax.eval_shape(lambda x: peer.init(jax.random.key(0), x, True), x)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), states)
    params = weights(net, root)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda s: s.shape, shapes)
    outputs, averages, grads = ours(net, x)
    expected, peer_averages, peer_grads = theirs(params, zeros, x)
    assert jax.tree.structure(averages) == jax.tree.structure(peer_averages)
    close(outputs, expected, 1e-4)
    close(averages, peer_averages, 1e-4)
    # Haiku's variances are means of squares less squared means, with the rounding of that.
    close(grads, peer_grads, 2e-3)


def without_gradient(loss):
    return lambda params, state: (loss(params, state), params)


SAME = {"data_format": "NHWC", "padding": "SAME"}


def test_resnet18():
    def make():
        return pax.nets.ResNet18(3, 5, **SAME)

    check(make, lambda: hk.nets.ResNet18(5), "res_net18", 64, gradients=False)


@pytest.mark.parametrize("bottleneck", [False, True], ids=["plain", "bottleneck"])
def test_small_resnet_with_gradients(bottleneck):
    options = {
        "bottleneck": bottleneck,
        "channels_per_group": (4, 8, 8, 8) if bottleneck else (4, 4, 8, 8),
        "use_projection": (True, True, True, True),
    }
    stem = {"kernel_shape": 3, "stride": 1}
    blocks = (1, 2, 1, 1)

    def make():
        first = {"out_features": 4, **stem}
        return pax.nets.ResNet(3, blocks, 5, initial_conv_config=first, **options, **SAME)

    def peer():
        first = {"output_channels": 4, **stem}
        return hk.nets.ResNet(blocks, 5, initial_conv_config=first, **options)

    check(make, peer, "res_net", 16, gradients=True)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152, 200])
def test_parameters_of_the_standard_networks(depth):
    """Names, shapes and number of all parameters; nothing is computed."""

    def ours(key):
        net = getattr(pax.nets, f"ResNet{depth}")(3, 7, rng_key=key)
        return weights(net, f"res_net{depth}")

    def theirs(key):
        net = getattr(hk.nets, f"ResNet{depth}")
        peer = hk.transform_with_state(lambda x: net(7)(x, True))
        return peer.init(key, jnp.ones((1, 32, 32, 3)))[0]

    key = jax.random.key(0)
    shapes = [jax.tree.map(lambda s: s.shape, jax.eval_shape(f, key)) for f in (ours, theirs)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("padding", ["HALF", "SAME"])
def test_channels_first_is_the_transpose(padding):
    options = {
        "bottleneck": False,
        "channels_per_group": (4, 4, 8, 8),
        "use_projection": (True,) * 4,
        "initial_conv_config": {"out_features": 4},
        "padding": padding,
    }
    first = fresh(made(lambda: pax.nets.ResNet(3, (1, 1, 1, 1), 5, **options)))
    last = fresh(made(lambda: pax.nets.ResNet(3, (1, 1, 1, 1), 5, data_format="NHWC", **options)))
    x = normal(0, 2, 3, 20, 20)
    y = quick(lambda first, last, x: (first(x), last(x.transpose(0, 2, 3, 1))))(first, last, x)
    close(y[0], y[1], 1e-4)
