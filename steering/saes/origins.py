"""Where a dictionary belongs on a model, and in what the model differs from the one that the dictionary was made on.

A dictionary says in its metadata which hook it reads and how its model was loaded. What can be honored is (saes.py);
what cannot be is reported in sentences, never silently ignored.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from ..checkpoints.bundled import bundled_models
from ..checkpoints.forms import Form
from ..models.lens import normalizer
from ..models.model import Model
from ..sites import STREAMS, Site

# TransformerLens' short names for models, as they occur in SAELens' registry and in the files of SAEs.
_SHORT_NAMES = {
    "gpt2": "openai-community/gpt2",
    "gpt2-small": "openai-community/gpt2",
    "gemma-2b": "google/gemma-2b",
    "gemma-2b-it": "google/gemma-2b-it",
    "mistral-7b": "mistralai/Mistral-7B-v0.1",
    "pythia-70m-deduped": "EleutherAI/pythia-70m-deduped",
    **{f"gemma-2-{size}{kind}": f"google/gemma-2-{size}{kind}" for size in ("2b", "9b", "27b") for kind in ("", "-it")},
    **{f"qwen3-{size}b": f"Qwen/Qwen3-{size}B" for size in ("0.6", "1.7", "4", "8", "14")},
}


def canonical_model(name: str) -> str:
    """The hub id that TransformerLens' short name of a model stands for; other names unchanged, without their form."""
    name = Form.parse(name).source
    return _SHORT_NAMES.get(name, name)


def _copy_of(model: str, folder: str) -> bool:
    """Whether a local folder is called as a hub model is, as its own name or as a folder of the hub's cache."""
    parts = Path(folder).parts
    owner, name = model.lower().rsplit("/", 1)
    called = {part.lower() for part in parts[-1:]} | {part.lower() for part in parts if part.startswith("models--")}
    return Path(folder).expanduser().is_dir() and bool({name, f"models--{owner}--{name}"} & called)


def place_of(lm: Model, metadata: Any) -> tuple[Site, Callable[[Tensor], Tensor] | None]:
    """The site that a dictionary's hook name means on this model, and what is done to the activation first."""
    hook, at = str(metadata.hook_name), re.match(r"^blocks\.(\d+)\.(.+)$", str(metadata.hook_name))
    layer, place = (int(at[1]), at[2]) if at else (0, "")
    if place == "ln2.hook_normalized":
        lm.check_site(Site(layer))
        return Site(layer, "resid_pre" if lm.parallel else "resid_mid"), normalizer(lm, layer)
    if place == "hook_z":
        return lm.check_site(Site(layer, "attn_z")), None
    if place == "hook_mlp_in" and str(metadata.hf_hook_name or "").endswith("layernorm.output"):
        return lm.check_site(Site(layer, "mlp_in")), None
    return lm.check_site(Site.parse(hook)), None


def trained_on(metadata: Any, h: Float[Tensor, "*batch d_model"]) -> Bool[Tensor, "*batch 1"] | None:
    """Which tokens are like those that a dictionary was trained on; None where it left none out.

    A model's first token can have a norm a hundred times that of the others. A dictionary that was trained without
    such tokens (`massive_threshold` in its metadata) reads noise in them, so there it has no features.
    """
    threshold = metadata.massive_threshold
    return None if threshold is None else h.float().norm(dim=-1, keepdim=True) <= float(threshold)


def has_value_bias(lm: Model) -> bool:
    """Whether attention adds a bias to its values."""
    names = [name for name, _ in lm.blocks[0].named_parameters()]
    return any(re.search(r"(v_proj|c_attn|query_key_value|qkv_proj)\.bias$", name) for name in names)


def differences(lm: Model, config: Any, site: Site) -> Iterator[str]:
    """Sentences on what differs between this model, as it is loaded, and what the SAE says it was made on."""
    about, kwargs = config.metadata, config.metadata.model_from_pretrained_kwargs or {}
    made_on, here = canonical_model(str(about.model_name or "")), canonical_model(lm.name)
    if "/" in made_on and "/" in here and made_on != here and not _copy_of(made_on, here):
        yield f"It was made on {made_on}; this model is {here}."
    elif "/" in made_on and here in bundled_models() and here not in made_on.lower():
        yield f"It was made on {made_on}; this model is the bundled {here}."
    if not lm.uses_rms_norm and "center_writing_weights" not in kwargs and site.stream in STREAMS:
        yield "It does not say whether its model's stream had its mean over channels removed; here it has not."
    if (
        site.stream == "attn_z"
        and has_value_bias(lm)
        and kwargs.get("fold_value_biases", not kwargs.get("no_processing"))
    ):
        yield "Its model may have had the value biases folded away; here the heads' outputs contain them."
    normalize = config.normalize_activations
    if normalize not in ("none", "layer_norm", "constant_norm_rescale"):
        yield (
            f"Its inputs were scaled in training ({normalize}) by a number that its files do not hold, so features "
            "fire too much or too little here."
        )
    bos = lm.tokenizer.bos_token_id
    adds = bos is not None and lm.opening[:1] == (bos,)
    if about.prepend_bos and not adds:
        yield "It was trained with a BOS token in front of every text; this model's tokenizer puts none."
    if about.prepend_bos is False and adds:
        yield "It was trained without BOS; this model's tokenizer puts one in front, and features there mean nothing."
    if about.context_size and int(about.context_size) < lm.n_ctx:
        yield f"It was trained on texts of up to {about.context_size} tokens; later positions are new to it."


@contextmanager
def with_version(folder: Path) -> Iterator[Path]:
    """The folder, or a copy whose cfg.json names a version of SAELens: without one SAELens drops today's metadata."""
    config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    about = config.get("metadata") if isinstance(config, dict) else None
    if not isinstance(about, dict) or not about.get("hook_name") or about.get("sae_lens_version"):
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        config["metadata"] = {**about, "sae_lens_version": "6.0.0"}
        Path(made, "cfg.json").write_text(json.dumps(config), encoding="utf-8")
        for file in folder.iterdir():
            if file.name != "cfg.json":
                Path(made, file.name).symlink_to(file.resolve())
        yield Path(made)
