"""Tiny random models and SAEs, written as the folders that the real ones come in.

Everything is seeded. Weights are larger than a trained model's and norms and biases are not neutral, so that greedy
texts differ from prompt to prompt, steering changes them, and a forgotten bias or gain shows up in a test.
"""

from __future__ import annotations

from pathlib import Path

import torch
from sae_lens import GatedSAE, GatedSAEConfig, JumpReLUSAE, JumpReLUSAEConfig, StandardSAE, StandardSAEConfig
from sae_lens.registry import get_sae_class
from sae_lens.saes.abstopk_sae import AbsTopKSAE, AbsTopKSAEConfig
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.matching_pursuit_sae import MatchingPursuitSAE, MatchingPursuitSAEConfig
from sae_lens.saes.matryoshka_batchtopk_sae import MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from steering.models.loading import load_model
from steering.sites import INNER_STREAMS, Site

D_MODEL, N_LAYERS, N_CTX, D_SAE = 32, 4, 128, 96
VOCAB = 304  # a few more than the tokenizer has, as in most real checkpoints
FAMILIES = ("gpt2", "llama", "gemma2", "gemma3", "qwen2", "qwen3", "neox", "neox_sequential", "mistral", "phi3")
ARCHITECTURES = ("standard", "gated", "jumprelu", "topk", "batchtopk")
# The rest of what SAELens can load and steer: further SAEs, and dictionaries from what the MLP gets to what it gives.
FURTHER = ("abstopk", "matching_pursuit", "matryoshka_batchtopk")
TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")
# Families whose tokenizer puts a BOS in front of a text, and those with a chat template, as the real ones have.
WITH_BOS = ("llama", "gemma2", "gemma3", "mistral")
WITH_CHAT = ("gemma2", "qwen2")

BOS, EOS = "<s>", "</s>"
GEMMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}<start>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end>\n{% endfor %}{% if add_generation_prompt %}<start>model\n{% endif %}"
)
QWEN_CHAT = (
    "{% if messages[0].role != 'system' %}<start>system\nBe kind.<end>\n{% endif %}"
    "{% for m in messages %}<start>{{ m.role }}\n{{ m.content }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<start>assistant\n{% endif %}"
)

CORPUS = [
    "The cat sat on the mat and looked at the moon. The dog was not happy with that.",
    "Is 7 plus 5 equal to 13? No, 7 plus 5 is 12. I think that you are right, of course!",
    "Question: what is the best way to steer a model? Answer: (A) with a vector (B) with a prompt",
    "I love you and I hate you. She said yes, he said no, and they all agreed that it was so.",
]


def tokenizer(family: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: any text round-trips, and frequent words take one token."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = [BOS, EOS, "<start>", "<end>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(CORPUS, trainer)
    if family in WITH_BOS:
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, bpe.token_to_id(BOS))]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=BOS, eos_token=EOS, additional_special_tokens=["<start>", "<end>"]
    )
    if family in WITH_CHAT:
        fast.chat_template = GEMMA_CHAT if family.startswith("gemma") else QWEN_CHAT
    return fast


def config(family: str, vocab: int):
    """The smallest configuration of a family that still has all its parts."""
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    common = {
        "vocab_size": vocab,
        "hidden_size": D_MODEL,
        "intermediate_size": 64,
        "num_hidden_layers": N_LAYERS,
        "max_position_embeddings": N_CTX,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": None,
        "initializer_range": 0.2,
    }
    if family == "gpt2":
        return GPT2Config(
            vocab_size=vocab, n_embd=D_MODEL, n_layer=N_LAYERS, n_head=4, n_positions=N_CTX,
            bos_token_id=0, eos_token_id=1, initializer_range=0.2,
        )  # fmt: skip
    if family == "llama":
        return LlamaConfig(**common, **heads, tie_word_embeddings=False)
    if family == "gemma2":
        return Gemma2Config(**common, **heads, query_pre_attn_scalar=8, sliding_window=16)
    if family == "gemma3":
        return Gemma3TextConfig(**common, **heads, query_pre_attn_scalar=8, sliding_window=16)
    if family == "qwen2":
        return Qwen2Config(**common, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True)
    if family == "qwen3":
        return Qwen3Config(**common, **heads, tie_word_embeddings=False)
    if family in ("neox", "neox_sequential"):
        return GPTNeoXConfig(
            **common, num_attention_heads=4, rotary_pct=0.5, use_parallel_residual=family == "neox",
            tie_word_embeddings=False,
        )  # fmt: skip
    if family == "mistral":
        return MistralConfig(**common, **heads, sliding_window=16, tie_word_embeddings=False)
    if family == "phi3":
        return Phi3Config(**common, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False)
    raise ValueError(f"A family is one of {FAMILIES}; got {family!r}.")


def write_checkpoint(family: str, folder: Path, *, seed: int = 0) -> Path:
    """A folder with config.json, model.safetensors and tokenizer files of a tiny random model."""
    words = tokenizer(family)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 100 * FAMILIES.index(family))
        model = AutoModelForCausalLM.from_config(config(family, VOCAB), dtype=torch.float32).eval()
        # Tied embeddings that outweigh what the blocks write make every model repeat its last token.
        embedding = {"gpt2": 0.3, "gemma2": 0.08, "gemma3": 0.08}.get(family, 0.6)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim > 1:
                    is_embedding = any(part in name for part in ("embed", "wte", "wpe"))
                    parameter.copy_(torch.randn_like(parameter) * (embedding if is_embedding else 0.25))
                elif name.endswith("bias"):
                    parameter.copy_(torch.randn_like(parameter) * 0.1)
                else:  # a norm's gain; Gemma stores gain - 1
                    neutral = 0.0 if family.startswith("gemma") else 1.0
                    parameter.copy_(neutral + torch.randn_like(parameter) * 0.3)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@torch.no_grad()
def sample_activations(checkpoint: Path, layer: int, stream: str = "resid_post") -> torch.Tensor:
    """Activations of a tiny model on random tokens, read by transformers alone, [512 d_model]."""
    if stream in INNER_STREAMS:
        lm, site = load_model(checkpoint, device="cpu", threads=1), Site(layer, stream)
        tokens = torch.randint(4, lm.d_vocab, (8, 64), generator=torch.Generator().manual_seed(0))
        return lm.activations(tokens.tolist(), [site])[0][site].flatten(0, 1)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    tokens = torch.randint(4, model.config.vocab_size, (8, 64), generator=torch.Generator().manual_seed(0))
    index = layer if stream == "resid_pre" else layer + 1
    if index == N_LAYERS:
        raise ValueError("transformers' last hidden state is normed; put the SAE on an earlier layer.")
    return model(tokens, output_hidden_states=True).hidden_states[index].flatten(0, 1)


def write_sae(
    architecture: str,
    folder: Path,
    checkpoint: Path,
    *,
    layer: int = 1,
    stream: str = "resid_post",
    d_sae: int = D_SAE,
    seed: int = 0,
    metadata: dict | None = None,
    **options: object,
) -> Path:
    """A SAELens folder of a random SAE whose every feature fires on about a fifth of a tiny model's tokens."""
    h = sample_activations(checkpoint, layer, stream)
    g = torch.Generator().manual_seed(seed + 7)
    d_in = h.shape[-1]
    about = SAEMetadata(
        **{"model_name": "tiny", "hook_name": str(Site(layer, stream)), "prepend_bos": False, **(metadata or {})}
    )
    shape = {"d_in": d_in, "d_sae": d_sae, "metadata": about, **options}
    if architecture == "standard":
        sae = StandardSAE(StandardSAEConfig(**shape))
    elif architecture == "gated":
        sae = GatedSAE(GatedSAEConfig(**shape))
    elif architecture == "jumprelu":
        sae = JumpReLUSAE(JumpReLUSAEConfig(**shape))
    elif architecture == "topk":
        sae = TopKSAE(TopKSAEConfig(k=d_sae // 5, **shape))
    elif architecture == "batchtopk":
        sae = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(k=d_sae // 5, **shape))
    elif architecture == "matryoshka_batchtopk":
        widths = [d_sae // 2, d_sae]
        config = MatryoshkaBatchTopKTrainingSAEConfig(k=d_sae // 5, matryoshka_widths=widths, **shape)
        sae = MatryoshkaBatchTopKTrainingSAE(config)
    elif architecture == "matching_pursuit":
        sae = MatchingPursuitSAE(MatchingPursuitSAEConfig(max_iterations=d_sae // 5, **shape))
    elif architecture == "abstopk":
        sae = AbsTopKSAE(AbsTopKSAEConfig(k=d_sae // 5, **shape))
    elif architecture in TRANSCODERS:
        kind, of = get_sae_class(architecture)
        sae = kind(of(d_out=D_MODEL, **{"apply_b_dec_to_input": False, **shape}))
    else:
        raise ValueError(f"An architecture is one of {ARCHITECTURES}; got {architecture!r}.")
    sae = sae.float()
    with torch.no_grad():
        directions = torch.randn(d_sae, d_in, generator=g)
        directions = directions / directions.norm(dim=-1, keepdim=True)
        sae.W_enc.copy_((directions + 0.1 * torch.randn(d_sae, d_in, generator=g)).T)
        # Decoder rows of different lengths: a code that takes them for unit vectors is caught.
        lengths = 0.5 + torch.rand(d_sae, 1, generator=g)
        if architecture in TRANSCODERS:
            out = torch.randn(d_sae, D_MODEL, generator=g)
            sae.W_dec.copy_(out / out.norm(dim=-1, keepdim=True) * lengths)
            sae.b_dec.copy_(torch.randn(D_MODEL, generator=g))
            if "skip" in architecture:
                sae.W_skip.copy_(0.1 * torch.randn(D_MODEL, d_in, generator=g))
        else:
            sae.W_dec.copy_(directions if architecture == "matching_pursuit" else directions * lengths)
            sae.b_dec.copy_(h.mean(0) + 0.1 * torch.randn(d_in, generator=g))
        pre = (sae.process_sae_in(h) if sae.cfg.apply_b_dec_to_input else h) @ sae.W_enc
        bias = -pre.quantile(0.5 if architecture == "abstopk" else 0.8, dim=0)
        if architecture == "gated":
            sae.b_gate.copy_(bias)
            sae.b_mag.copy_(bias + 0.3)
            sae.r_mag.copy_(0.2 * torch.randn(d_sae, generator=g))
        elif architecture.startswith("jumprelu"):
            threshold = 0.2 + torch.rand(d_sae, generator=g)
            sae.b_enc.copy_(bias + threshold)
            sae.threshold.copy_(threshold)
        elif architecture == "matching_pursuit":
            pass  # the decoder is all it has
        elif architecture.endswith("batchtopk"):
            sae.b_enc.copy_(bias + 0.5)
            sae.topk_threshold = torch.tensor(0.5, dtype=torch.double)
            if sae.cfg.rescale_acts_by_decoder_norm:
                sae.b_enc.copy_(bias + 0.5 / sae.W_dec.norm(dim=-1))
        else:
            sae.b_enc.copy_(bias)
    (sae.save_inference_model if architecture.endswith("batchtopk") else sae.save_model)(folder)
    return folder
