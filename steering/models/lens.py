"""The logit lens: which tokens a vector in the residual stream makes more and less likely, by the weights alone.

logits = norm(h) @ W_U, and norm(h) = h / rms(h) * gain (+ bias). Adding a small vector v to h therefore moves the
logits along `(v * gain) @ W_U`, up to one positive factor per token (1 / rms) that is left out, and, for LayerNorm,
after the mean of v over channels is taken away. What later layers do with v is not in it: it is exact for the last
`resid_post` and a first guess elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..sites import Site
from .checks.identities import MOST_TOKENS, TEXT
from .model import Model


def gain(norm: nn.Module, lm: Model) -> Float[Tensor, " d_model"]:
    """The gain of a norm per channel, read off its behavior: Gemma stores gain - 1, others the gain itself.

    x = +1, -1, +1, ... has mean 0 and root mean square 1, so norm(x) = x * gain + bias for RMSNorm and LayerNorm.
    """
    x = torch.ones(lm.d_model, device=lm.device, dtype=lm.dtype)
    x[1::2] = -1
    with torch.no_grad():
        return ((norm(x) - norm(-x)) / 2 * x).float()


def normalizer(lm: Model, layer: int) -> Callable[[Float[Tensor, "*batch d_model"]], Float[Tensor, "*batch d_model"]]:
    """The norm before a layer's MLP without gain and bias, as a function: TransformerLens' `ln2.hook_normalized`."""
    parts = lm.adapter.component_mapping["blocks"].submodules
    norm = lm.blocks[layer].get_submodule(parts["ln2" if "ln2" in parts else "ln1"].name)
    epsilon = next((float(getattr(norm, n)) for n in ("eps", "variance_epsilon") if hasattr(norm, n)), 1e-5)
    centers = isinstance(norm, nn.LayerNorm)

    def normalize(h: Tensor) -> Tensor:
        h = h.float()
        h = h - h.mean(-1, keepdim=True) if centers else h
        return h * torch.rsqrt(h.square().mean(-1, keepdim=True) + epsilon)

    return normalize


def _norm(lm: Model) -> nn.Module:
    """The norm after the last block."""
    part = lm.adapter.component_mapping.get("ln_final")
    if part is None or lm.hf.get_output_embeddings() is None:  # type: ignore[operator]
        raise ValueError(
            f"The logit lens needs a norm after the last block and an unembedding; {type(lm.hf).__name__} has no such."
        )
    return lm.hf.get_submodule(part.name)


def _final(lm: Model) -> tuple[Tensor, bool, Tensor]:
    """The final norm's gain, whether it takes the mean away, and the unembedding [vocab d_model]."""
    norm = _norm(lm)
    ones = torch.ones(lm.d_model, device=lm.device, dtype=lm.dtype)
    with torch.no_grad():
        centers = bool((norm(ones) - norm(-ones)).abs().max() < 1e-2)
    return gain(norm, lm), centers, lm.hf.get_output_embeddings().weight.detach()  # type: ignore[operator]


def token_effects(lm: Model, vectors: Float[Tensor, "n d_model"]) -> Float[Tensor, "n vocab"]:
    """The change of each token's logit per unit of each vector, up to one positive factor: (v * gain) @ W_U."""
    scale, centers, unembed = _final(lm)
    v = vectors.to(lm.device).float()
    if centers:
        v = v - v.mean(-1, keepdim=True)
    return (v * scale) @ unembed.float().T


def promoted_tokens(
    lm: Model, vectors: Float[Tensor, "n d_model"], k: int, *, suppressed: bool = False
) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """The k tokens that each vector promotes most (or suppresses most), and the change of their logits."""
    effects = token_effects(lm, vectors)
    values, ids = effects.topk(min(k, effects.shape[-1]), dim=-1, largest=not suppressed)
    return ids.cpu(), values.cpu()


@torch.no_grad()
def to_logits(lm: Model, h: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
    """What the model would predict if the rest of its layers were left out: final norm, unembedding, and scale.

    Raises:
        ValueError: a family whose logits are made in another way, found by comparing with the model's own.
    """
    if lm not in _exact:
        ids = lm.tokens(TEXT)[:MOST_TOKENS] if lm.tokenizer is not None else list(range(1, 1 + MOST_TOKENS))
        last = Site(lm.n_layers - 1)
        own = lm.forward(torch.tensor([ids], device=lm.device)).float()
        ours = _logits(lm, lm.activations([ids], [last])[0][last])
        slack = 64 * torch.finfo(lm.rounds_to).eps * float(own.abs().max())
        _exact[lm] = bool(((ours - own).abs() <= slack).all())
    if not _exact[lm]:
        raise ValueError(
            f"{type(lm.hf).__name__} makes its logits in another way than by a norm and the unembedding, so what a "
            "layer would predict alone cannot be told for it."
        )
    return _logits(lm, h)


# Whether `_logits` gives a model's own logits at the end of its last layer.
_exact: WeakKeyDictionary[Model, bool] = WeakKeyDictionary()


def _logits(lm: Model, h: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
    norm, config = _norm(lm), lm.text_config
    head = lm.hf.get_output_embeddings()  # type: ignore[operator]
    logits = head(norm(h.to(lm.device, lm.dtype))).float()
    for name in ("logit_scale", "lm_head_multiplier"):  # Cohere, Falcon-H1
        logits = logits * float(getattr(config, name, None) or 1.0)
    logits = logits / float(getattr(config, "logits_scaling", None) or 1.0)  # Granite
    cap = getattr(config, "final_logit_softcapping", None)
    return cap * torch.tanh(logits / cap) if cap else logits
