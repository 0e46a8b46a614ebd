"""Public models with a small random configuration, and a batch for each; nothing is downloaded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import diffusers
import peft
import torch
import torchdiffeq
import transformers
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

VOCABULARY = 48
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Model:
    """A module's maker, a batch of keyword arguments for its forward, and how its loss is read.

    `vmap_method` is for modules with operations that PyTorch's vmap cannot do.
    """

    name: str
    make: Callable[[], torch.nn.Module]
    batch: Callable[[], Batch]
    loss: Callable[[Any], torch.Tensor] = attrgetter("loss")
    vmap_method: str | None = None

    def module(self) -> torch.nn.Module:
        """Return the module in training mode, the same at each call."""
        torch.manual_seed(0)
        return self.make().train()


def tokens(seed: int = 0, length: int = 7) -> torch.Tensor:
    """Return two random sentences, int64[2, length]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, VOCABULARY, (2, length), generator=generator)


def next_token_batch() -> Batch:
    """Return sentences with a padded end, and their labels."""
    ids = tokens()
    mask = torch.ones_like(ids)
    mask[1, -2:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def class_batch() -> Batch:
    """Return sentences, each with a class."""
    return {"input_ids": tokens(), "labels": torch.tensor([0, 2])}


def translation_batch() -> Batch:
    """Return sentences and what they should become."""
    return {"input_ids": tokens(), "labels": tokens(1, 5)}


def image_batch() -> Batch:
    """Return two images, each with a class."""
    pixels = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return {"pixel_values": pixels, "labels": torch.tensor([0, 2])}


def noise_batch() -> Batch:
    """Return two noisy images and their time steps."""
    pixels = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return {"sample": pixels, "timestep": torch.tensor([3, 7])}


def vector_batch() -> Batch:
    """Return six vectors of four numbers."""
    return {"x": torch.randn(6, 4, generator=torch.Generator().manual_seed(0))}


def sequence_batch() -> Batch:
    """Return four sequences of five vectors."""
    return {"x": torch.randn(4, 5, 4, generator=torch.Generator().manual_seed(0))}


def mean_square(out: torch.Tensor) -> torch.Tensor:
    """Return the mean square of a result."""
    return (out**2).mean()


def sample_mean_square(out: Any) -> torch.Tensor:
    """Return the mean square of a denoiser's result."""
    return (out.sample**2).mean()


def gpt2() -> torch.nn.Module:
    config = transformers.GPT2Config(
        n_layer=2,
        n_head=2,
        n_embd=16,
        vocab_size=VOCABULARY,
        n_positions=16,
        bos_token_id=0,
        eos_token_id=1,
    )
    return transformers.GPT2LMHeadModel(config)


def bert() -> torch.nn.Module:
    config = transformers.BertConfig(
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_size=16,
        intermediate_size=32,
        vocab_size=VOCABULARY,
        max_position_embeddings=16,
        num_labels=3,
    )
    return transformers.BertForSequenceClassification(config)


def t5() -> torch.nn.Module:
    config = transformers.T5Config(
        num_layers=2,
        num_heads=2,
        d_model=16,
        d_kv=8,
        d_ff=32,
        vocab_size=VOCABULARY,
        decoder_start_token_id=0,
    )
    return transformers.T5ForConditionalGeneration(config)


def vit() -> torch.nn.Module:
    config = transformers.ViTConfig(
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_size=16,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
        num_labels=3,
        hidden_dropout_prob=0.1,
    )
    return transformers.ViTForImageClassification(config)


def llama_config(use_cache: bool) -> transformers.LlamaConfig:
    return transformers.LlamaConfig(
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        hidden_size=16,
        intermediate_size=32,
        vocab_size=VOCABULARY,
        max_position_embeddings=16,
        use_cache=use_cache,
    )


def llama() -> torch.nn.Module:
    return transformers.LlamaForCausalLM(llama_config(use_cache=False))


def llama_with_cache() -> torch.nn.Module:
    return transformers.LlamaForCausalLM(llama_config(use_cache=True))


def mixtral() -> torch.nn.Module:
    config = transformers.MixtralConfig(
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        hidden_size=16,
        intermediate_size=32,
        vocab_size=VOCABULARY,
        max_position_embeddings=16,
        num_local_experts=4,
        num_experts_per_tok=2,
        experts_implementation="batched_mm",
        use_cache=False,
    )
    return transformers.MixtralForCausalLM(config)


def mamba() -> torch.nn.Module:
    config = transformers.MambaConfig(
        num_hidden_layers=2, hidden_size=16, state_size=4, vocab_size=VOCABULARY, use_cache=False
    )
    return transformers.MambaForCausalLM(config)


def lora() -> torch.nn.Module:
    config = peft.LoraConfig(
        r=4,
        target_modules=["c_attn"],
        lora_dropout=0.1,
        fan_in_fan_out=True,
        init_lora_weights=False,
    )
    return peft.get_peft_model(gpt2(), config)


def dora() -> torch.nn.Module:
    config = peft.LoraConfig(
        r=4, target_modules=["c_attn"], use_dora=True, fan_in_fan_out=True, init_lora_weights=False
    )
    return peft.get_peft_model(gpt2(), config)


def unet() -> torch.nn.Module:
    return diffusers.UNet2DModel(
        sample_size=16,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
    )


class OdeNet(torch.nn.Module):
    """The end of a curve whose slope is a network."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        times = torch.linspace(0.0, 1.0, 5)
        return torchdiffeq.odeint(lambda t, y: self.net(y), x, times, method="rk4")[-1]


class Lstm(torch.nn.Module):
    """Two layers of LSTM with dropout between them, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(4, 8, num_layers=2, dropout=0.2, batch_first=True)
        self.head = torch.nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0])


class Unit(torch.nn.Module):
    """Divides a weight by its norm."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight / torch.linalg.vector_norm(weight)


class Tied(torch.nn.Module):
    """An encoder whose weight, transposed, is the decoder's too."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.Linear(4, 8, bias=False)
        self.decoder = torch.nn.Linear(8, 4, bias=False)
        self.scale = torch.nn.Linear(4, 8, bias=False)
        self.scale.weight = self.encoder.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(torch.tanh(self.encoder(x)) * self.scale(x)) - x


class Checkpointed(torch.nn.Module):
    """Two blocks that are run again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        block = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Dropout(0.2))
        self.blocks = torch.nn.ModuleList([block, copy.deepcopy(block)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False)
        return x


def mlp(wrap: Callable[[torch.nn.Linear], torch.nn.Module]) -> Callable[[], torch.nn.Module]:
    def make() -> torch.nn.Module:
        first, second = wrap(torch.nn.Linear(4, 8)), torch.nn.Linear(8, 1)
        return torch.nn.Sequential(first, torch.nn.BatchNorm1d(8), torch.nn.Tanh(), second)

    return make


class ByKeyword(torch.nn.Module):
    """Names the argument of a sequence."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def unit_weight(layer: torch.nn.Linear) -> torch.nn.Module:
    parametrize.register_parametrization(layer, "weight", Unit())
    return layer


def small(
    name: str, make: Callable[[], torch.nn.Module], batch: Callable[[], Batch] = vector_batch
) -> Model:
    return Model(name, make, batch, mean_square)


def wrapped(name: str, wrap: Callable[[torch.nn.Linear], torch.nn.Module]) -> Model:
    make = mlp(wrap)
    return small(name, lambda: ByKeyword(make()))


LANGUAGE = (
    Model("gpt2", gpt2, next_token_batch),
    Model("bert", bert, class_batch),
    Model("t5", t5, translation_batch),
    Model("vit", vit, image_batch),
    Model("llama", llama, next_token_batch),
    Model("llama-cache", llama_with_cache, next_token_batch),
    Model("mixtral", mixtral, next_token_batch),
    Model("mamba", mamba, lambda: {"input_ids": tokens(), "labels": tokens()}),
    Model("lora", lora, next_token_batch),
    Model("dora", dora, next_token_batch),
)
PARTS = (
    Model("unet", unet, noise_batch, sample_mean_square, "sequential"),
    small("ode", OdeNet),
    small("lstm", Lstm, sequence_batch),
    small("tied", Tied),
    small("checkpointed", Checkpointed),
    wrapped("weight-norm", parametrizations.weight_norm),
    wrapped("spectral-norm", parametrizations.spectral_norm),
    wrapped("orthogonal", parametrizations.orthogonal),
    wrapped("parametrized", unit_weight),
)
MODELS = (*LANGUAGE, *PARTS)
