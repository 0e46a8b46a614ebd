"""The Transformer against torch.nn.TransformerEncoder on the same weights."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import pax_jax as pax
from tests.jax.layer_peers import close, made, normal


def tensor(array):
    return torch.tensor(np.asarray(array))


def load_linear(peer, weight, bias):
    peer.weight.data, peer.bias.data = tensor(weight.T), tensor(bias)


def load_norm(peer, norm):
    peer.weight.data, peer.bias.data = tensor(norm.scale), tensor(norm.offset)


GELU = torch.nn.functional.gelu
# Networks of the style of GPT-2 and of ViT: what ours is given, and what PyTorch's are.
STYLES = {
    "gpt2": ({}, partial(GELU, approximate="tanh"), 1e-5),
    "vit": (
        {"activation": partial(jax.nn.gelu, approximate=False), "norm_eps": 1e-2},
        GELU,
        1e-2,
    ),
    "relu": ({"activation": jax.nn.relu, "norm_eps": 1e-3}, torch.relu, 1e-3),
}


def torch_encoder(net, activation=STYLES["gpt2"][1], eps=1e-5):
    layer = torch.nn.TransformerEncoderLayer(
        net.dim,
        net.num_heads,
        4 * net.dim,
        dropout=0.0,
        activation=activation,
        layer_norm_eps=eps,
        norm_first=True,
        batch_first=True,
    )
    norm = torch.nn.LayerNorm(net.dim, eps)
    peer = torch.nn.TransformerEncoder(layer, net.num_layers, norm, enable_nested_tensor=False)
    for ours, theirs in zip(net.layers, peer.layers, strict=True):
        maps = [ours.attention.query, ours.attention.key, ours.attention.value]
        theirs.self_attn.in_proj_weight.data = torch.cat([tensor(m.weight.T) for m in maps])
        theirs.self_attn.in_proj_bias.data = torch.cat([tensor(m.bias) for m in maps])
        output = ours.attention.output
        load_linear(theirs.self_attn.out_proj, output.weight, output.bias)
        load_linear(theirs.linear1, ours.dense_in.weight, ours.dense_in.bias)
        load_linear(theirs.linear2, ours.dense_out.weight, ours.dense_out.bias)
        load_norm(theirs.norm1, ours.attention_norm)
        load_norm(theirs.norm2, ours.dense_norm)
    load_norm(peer.norm, net.output_norm)
    return peer


@pytest.mark.parametrize("style", STYLES)
def test_transformer_takes_the_activation_and_the_eps_of_a_pretrained_one(style):
    options, activation, eps = STYLES[style]
    net = made(lambda: pax.nets.Transformer(8, 2, 2, is_causal=False, **options))
    x = 0.1 * normal(0, 3, 5, 8)
    expected = torch_encoder(net, activation, eps)(tensor(x))
    np.testing.assert_allclose(net(x), expected.detach(), rtol=1e-5, atol=2e-6)
    others = (
        torch_encoder(net, *STYLES[other][1:])(tensor(x)) for other in STYLES if other != style
    )
    assert all(abs(np.asarray(other.detach()) - net(x)).max() > 1e-4 for other in others)


@pytest.mark.parametrize("is_causal", [True, False], ids=["causal", "both ways"])
def test_transformer(is_causal):
    net = made(lambda: pax.nets.Transformer(8, 2, 2, is_causal=is_causal))
    peer = torch_encoder(net)
    x = normal(0, 3, 5, 8)
    keep = np.ones((3, 5), bool)
    keep[1, 3:] = False
    hidden = torch.ones(5, 5, dtype=torch.bool).triu(1) if is_causal else None
    theirs = tensor(x).requires_grad_()
    expected = peer(theirs, mask=hidden, src_key_padding_mask=torch.tensor(~keep))
    torch.sin(expected).sum().backward()

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def ours(params, x):
        def call(params, x):
            return net.update(params)(x, jnp.asarray(keep))

        def loss(params, x):
            return jnp.sin(call(params, x)).sum()

        return call(params, x), jax.grad(loss, (0, 1))(params, x)

    y, (grads, moved) = ours(net.parameters(), x)
    close(y, expected.detach().numpy())
    close(moved, theirs.grad.numpy(), 1e-4)
    close(grads.layers[0].dense_in.weight.T, peer.layers[0].linear1.weight.grad.numpy(), 1e-4)
    close(grads.layers[1].dense_norm.scale, peer.layers[1].norm2.weight.grad.numpy(), 1e-4)
    query = peer.layers[0].self_attn.in_proj_weight.grad.numpy()[:8]
    close(grads.layers[0].attention.query.weight.T, query, 1e-4)
