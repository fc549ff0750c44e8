"""The two models that are measured: GPT-2 small's shape, and a small one; random weights, made-up words."""

from __future__ import annotations

import string
from itertools import islice, product
from typing import Any

import torch
from sae_lens import JumpReLUSAE, JumpReLUSAEConfig
from sae_lens.saes.sae import SAEMetadata
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site

# Larger than a trained model's, so that greedy texts do not repeat one word and steering changes them.
_INITIALIZER_RANGE = 0.08


def made_up_tokenizer(vocab: int) -> PreTrainedTokenizerFast:
    """A tokenizer of `vocab` words, one token each: speed needs a vocabulary of the real size, not its meaning."""
    words = ("Ġ" + "".join(letters) for letters in product(string.ascii_lowercase, repeat=4))
    special = ["<pad>", "<eos>"]
    known = {word: i for i, word in enumerate([*special, *islice(words, vocab - len(special))])}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="<eos>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>")


def gpt2_shaped(name: str, *, layers: int, width: int, heads: int, vocab: int, context: int) -> Model:
    """A GPT-2 with random weights in float32; generation never meets an end-of-text token."""
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=layers,
        n_embd=width,
        n_head=heads,
        vocab_size=vocab,
        n_positions=context,
        initializer_range=_INITIALIZER_RANGE,
        bos_token_id=None,
        eos_token_id=None,
    )
    hf = GPT2LMHeadModel(config).eval().requires_grad_(False)
    hf.generation_config.pad_token_id = 0
    return Model(name, hf, made_up_tokenizer(vocab))


def gpt2_small() -> Model:
    """The shape of GPT-2 small: 124 M parameters."""
    return gpt2_shaped("gpt2-small shape", layers=12, width=768, heads=12, vocab=50257, context=1024)


def small() -> Model:
    """About 3 M parameters, the size of the models that Tiller bundles."""
    return gpt2_shaped("small", layers=6, width=192, heads=6, vocab=2048, context=512)


def random_sae(model: Model, site: Site, d_sae: int) -> Sae:
    """A JumpReLU SAE with random weights, of which about one feature in eight is active."""
    generator = torch.Generator().manual_seed(1)
    config = JumpReLUSAEConfig(
        d_in=model.d_model, d_sae=d_sae, metadata=SAEMetadata(hook_name=str(site), model_name=model.name)
    )
    sae: Any = JumpReLUSAE(config)
    rows = torch.randn(d_sae, model.d_model, generator=generator)
    rows = rows / rows.norm(dim=-1, keepdim=True)
    sae.load_state_dict(
        {
            "W_dec": rows,
            "W_enc": rows.T.contiguous(),
            "b_enc": torch.zeros(d_sae),
            "b_dec": torch.zeros(model.d_model),
            "threshold": torch.full((d_sae,), 1.0),
        }
    )
    return Sae(f"random {d_sae}", site, sae.eval().requires_grad_(False))
