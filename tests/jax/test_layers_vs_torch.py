"""The layers of pax_jax against those of torch.nn on the same weights, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import pax_jax as pax


def to_torch(x):
    return torch.tensor(np.asarray(x))


def close(actual, expected):
    np.testing.assert_allclose(np.asarray(actual), expected.detach().numpy(), rtol=2e-5, atol=2e-5)


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def check(layer, peer, x, transposes):
    """Compare outputs and gradients; `transposes` maps our parameters to torch's axes."""
    for name, axes in transposes.items():
        theirs = getattr(peer, {"scale": "weight", "offset": "bias"}.get(name, name))
        theirs.data = to_torch(getattr(layer, name).transpose(axes))
    channels_first = [0, x.ndim - 1, *range(1, x.ndim - 1)]
    y = peer(to_torch(x.transpose(channels_first)))
    torch.sum(torch.sin(y)).backward()
    value, grads = pax.value_and_grad(lambda m: jnp.sum(jnp.sin(m(x))))(layer)
    close(layer(jnp.asarray(x)).transpose(channels_first), y)
    close(value, torch.sum(torch.sin(y)))
    for name, axes in transposes.items():
        theirs = getattr(peer, {"scale": "weight", "offset": "bias"}.get(name, name))
        close(getattr(grads, name).transpose(axes), theirs.grad)


def test_linear():
    check(pax.Linear(4, 3), torch.nn.Linear(4, 3), normal(5, 4), {"weight": (1, 0), "bias": (0,)})


@pytest.mark.parametrize("kernel", [1, (3, 2)], ids=str)
@pytest.mark.parametrize("stride", [1, (2, 1)], ids=str)
@pytest.mark.parametrize("rate", [1, (1, 2)], ids=str)
@pytest.mark.parametrize("padding", [0, (2, 1)], ids=str)
@pytest.mark.parametrize("groups", [1, 2])
def test_conv2d(kernel, stride, rate, padding, groups):
    layer = pax.Conv2D(4, 6, kernel, stride, rate, padding, feature_group_count=groups)
    peer = torch.nn.Conv2d(4, 6, kernel, stride, padding, rate, groups)
    check(layer, peer, normal(2, 7, 8, 4), {"weight": (3, 2, 0, 1), "bias": (0,)})


@pytest.mark.parametrize(
    ("layer", "peer", "shape"),
    [
        (pax.BatchNorm1D, torch.nn.BatchNorm1d, (6, 3)),
        (pax.BatchNorm1D, torch.nn.BatchNorm1d, (6, 4, 3)),
        (pax.BatchNorm2D, torch.nn.BatchNorm2d, (4, 5, 2, 3)),
    ],
    ids=["NC", "NWC", "NHWC"],
)
def test_batch_norm(layer, peer, shape):
    check(layer(3), peer(3), normal(*shape), {"scale": (0,), "offset": (0,)})


def test_batch_norm_averages():
    """torch's averages weigh the first value in, and take the unbiased variance."""
    layer, peer = pax.BatchNorm1D(3, decay_rate=0.9), torch.nn.BatchNorm1d(3, momentum=0.1)
    layer.ema_weight = jnp.ones(())  # as if trained for ever
    x = normal(8, 3)
    for scale in (1.0, 2.0, 3.0):
        layer(jnp.asarray(scale * x))
        peer(to_torch(scale * x))
    close(layer.ema_mean, peer.running_mean)
    close((layer.ema_var - 0.9**3) * 8 / 7 + 0.9**3, peer.running_var)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_pooling(size, stride):
    x = normal(2, 6, 7, 3)
    theirs = to_torch(x.transpose(0, 3, 1, 2))
    ours = jax.tree.map(
        lambda pool: pool(x, size, stride, "VALID").transpose(0, 3, 1, 2),
        [pax.max_pool, pax.avg_pool],
    )
    close(ours[0], torch.nn.functional.max_pool2d(theirs, size, stride))
    close(ours[1], torch.nn.functional.avg_pool2d(theirs, size, stride))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("rate", [1, 2])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_transposed_convolutions(ndim, rate, groups):
    """torch's padding takes away from the output what ours adds to the spread input."""
    ours = {1: pax.Conv1DTranspose, 2: pax.Conv2DTranspose, 3: pax.Conv3DTranspose}[ndim]
    theirs = getattr(torch.nn, f"ConvTranspose{ndim}d")
    pads = rate * (3 - 1) - 1
    layer = ours(4, 6, 3, 2, rate, pads, feature_group_count=groups)
    peer = theirs(4, 6, 3, stride=2, padding=1, dilation=rate, groups=groups)
    # (..., out, in / groups) to torch's (in, out / groups, ...), whose windows are turned round.
    weight = np.flip(np.asarray(layer.weight), tuple(range(ndim)))
    split = np.moveaxis(weight, (-2, -1), (0, 1)).reshape(
        groups, 6 // groups, 4 // groups, *(3,) * ndim
    )
    peer.weight.data = torch.tensor(np.concatenate(split.swapaxes(1, 2)).copy())
    peer.bias.data = to_torch(layer.bias)
    x = normal(2, *(4, 3, 3)[:ndim], 4)
    close(jnp.moveaxis(layer(jnp.asarray(x)), -1, 1), peer(to_torch(np.moveaxis(x, -1, 1))))
