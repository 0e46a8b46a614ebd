"""Weights of GPT-2 and ViT in pax_jax's networks: the logits are those of transformers."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

import pax_jax as pax
from outside.models import image_batch, tokens

# What the names in pax_jax are in transformers.
GPT2_NAMES = {
    r"^embed\.": "transformer.wte.",
    r"^positions\.": "transformer.wpe.",
    r"^transformer\.output_norm": "transformer.ln_f",
    r"^transformer\.layers\.(\d+)\.attention_norm": r"transformer.h.\1.ln_1",
    r"^transformer\.layers\.(\d+)\.attention\.in_proj_": r"transformer.h.\1.attn.c_attn.",
    r"^transformer\.layers\.(\d+)\.attention\.out_proj": r"transformer.h.\1.attn.c_proj",
    r"^transformer\.layers\.(\d+)\.dense_norm": r"transformer.h.\1.ln_2",
    r"^transformer\.layers\.(\d+)\.dense_in": r"transformer.h.\1.mlp.c_fc",
    r"^transformer\.layers\.(\d+)\.dense_out": r"transformer.h.\1.mlp.c_proj",
}
VIT_NAMES = {
    r"^patches": "vit.embeddings.patch_embeddings.projection",
    r"^class_token": "vit.embeddings.cls_token",
    r"^positions": "vit.embeddings.position_embeddings",
    r"^transformer\.output_norm": "vit.layernorm",
    r"^transformer\.layers\.(\d+)\.attention_norm": r"vit.layers.\1.layernorm_before",
    r"^transformer\.layers\.(\d+)\.attention\.in_proj_": r"vit.layers.\1.attention.in_proj.",
    r"^transformer\.layers\.(\d+)\.attention\.out_proj": r"vit.layers.\1.attention.o_proj",
    r"^transformer\.layers\.(\d+)\.dense_norm": r"vit.layers.\1.layernorm_after",
    r"^transformer\.layers\.(\d+)\.dense_in": r"vit.layers.\1.mlp.fc1",
    r"^transformer\.layers\.(\d+)\.dense_out": r"vit.layers.\1.mlp.fc2",
    r"^logits": "classifier",
}


def renamed(names, name):
    """Return a name of pax_jax as the same weight is called there."""
    for pattern, there in names.items():
        name, count = re.subn(pattern, there, name)
        if count:
            return name
    return name


def torch_linear(model):
    """Return the state dict of a GPT-2 with the weights of its `Conv1D` as `torch.nn.Linear` has them."""
    turned = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, transformers.pytorch_utils.Conv1D)
    }
    state = model.state_dict()
    kept = {name: value.T if name in turned else value for name, value in state.items()}
    return {name: value for name, value in kept.items() if name != "lm_head.weight"}  # it is tied


def close(found, expected):
    """Compare to 1e-6 of the largest logit."""
    expected = expected.detach().numpy()
    assert np.abs(np.asarray(found) - expected).max() <= 1e-6 * np.abs(expected).max()


@functools.cache
def gpt2(activation):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_layer=3,
        n_head=2,
        n_embd=16,
        vocab_size=48,
        n_positions=16,
        bos_token_id=0,
        eos_token_id=1,
        activation_function=activation,
        layer_norm_epsilon=1e-3,
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    for parameter in model.parameters():  # biases too, and as large as those of a trained net
        torch.nn.init.normal_(parameter, std=0.3)
    return model


ACTIVATIONS = {"gelu_new": jax.nn.gelu, "gelu": functools.partial(jax.nn.gelu, approximate=False)}


@pytest.mark.parametrize("scan", [False, True], ids=["list", "scan"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gpt2_has_the_logits_of_transformers(activation, scan):
    theirs = gpt2(activation)
    ours = pax.nets.LanguageModel(
        48, 16, 2, 3, max_length=16, activation=ACTIVATIONS[activation], norm_eps=1e-3, scan=scan
    )
    rename = functools.partial(renamed, GPT2_NAMES)
    ours = pax.weights.load_torch(ours, torch_linear(theirs), rename).eval()
    ids = tokens(length=9)
    logits = theirs(input_ids=ids).logits
    there = jnp.asarray(ids.numpy())
    close(ours(there), logits)
    caches, first = ours.decode(ours.initial_cache(2, 9), there[:, :6])
    _, rest = ours.decode(caches, there[:, 6:])
    close(jnp.concatenate([first, rest], axis=1), logits)


def with_joined_projections(model):
    """Return the state dict of a ViT with the three projections of each attention in one array."""
    state = dict(model.state_dict())
    for name in list(state):
        if ".q_proj." in name:
            parts = [state.pop(name.replace("q_proj", f"{part}_proj")) for part in "qkv"]
            state[name.replace("q_proj", "in_proj")] = torch.cat(parts)
    first = {name: state[name][0] for name in state if "cls_token" in name or "position_" in name}
    first = {n: value[0] if "cls_token" in n else value for n, value in first.items()}
    return state | first


def test_vit_has_the_logits_of_transformers():
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        num_hidden_layers=3,
        num_attention_heads=2,
        hidden_size=16,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
        num_labels=3,
        layer_norm_eps=1e-4,
    )
    theirs = transformers.ViTForImageClassification(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours = pax.nets.VisionTransformer(
        16,
        8,
        3,
        16,
        2,
        3,
        widening_factor=2,
        activation=functools.partial(jax.nn.gelu, approximate=False),
        norm_eps=1e-4,
        data_format="NCHW",
    )
    rename = functools.partial(renamed, VIT_NAMES)
    ours = pax.weights.load_torch(ours, with_joined_projections(theirs), rename).eval()
    pixels = image_batch()["pixel_values"]
    close(ours(jnp.asarray(pixels.numpy())), theirs(pixel_values=pixels).logits)
