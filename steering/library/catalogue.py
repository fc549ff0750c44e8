"""The catalogue of models and SAEs: recommended models, and SAELens' registry as rows to search.

Makes no network request: the sizes of recommended models are listed here, and which SAEs fit a model comes from the
registry inside SAELens and from its names (site, width, L0).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checkpoints.memory import BYTES, Shape
from ..saes.loading import PICKLED, registry
from ..saes.origins import canonical_model
from ..sites import Site

if TYPE_CHECKING:
    from ..models.model import Model


@dataclass(frozen=True)
class ModelEntry:
    """A model worth trying: its hub id, size, license, whether the hub asks for a token, and what it is good for."""

    hub_id: str
    shape: Shape
    license: str
    gated: bool = False
    chat: bool = False
    note: str = ""

    @property
    def name(self) -> str:
        return self.hub_id.rpartition("/")[2]

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that it needs to run, by dtype."""
        return {dtype: self.shape.needs(dtype) for dtype in BYTES}


def _entry(hub_id: str, millions: float, layers: int, heads: int, d_head: int, terms: str, **more: Any) -> ModelEntry:
    return ModelEntry(hub_id, Shape(int(millions * 1e6), layers, heads, d_head), terms, **more)


# Parameters as transformers counts them for a text (a picture tower is not part of it), from the published configs;
# layers, key-value heads and width of a head.
_GEMMA, _LLAMA, _APACHE = ("Gemma", "Llama", "Apache-2.0")
MODELS = (
    _entry("google/gemma-3-270m-it", 268.1, 18, 1, 256, _GEMMA, gated=True, chat=True, note="Gemma Scope 2"),
    _entry("openai-community/gpt2", 124.4, 12, 12, 64, "MIT", note="The classic; 18 releases of SAEs"),
    _entry("EleutherAI/pythia-70m-deduped", 70.4, 6, 8, 64, _APACHE, note="Small enough for any laptop"),
    _entry("EleutherAI/pythia-410m-deduped", 405.3, 24, 16, 64, _APACHE),
    _entry("HuggingFaceTB/SmolLM2-360M-Instruct", 361.8, 32, 5, 64, _APACHE, chat=True, note="smollm2, a size up"),
    _entry("HuggingFaceTB/SmolLM2-1.7B-Instruct", 1711.4, 24, 32, 64, _APACHE, chat=True, note="smollm2, two sizes up"),
    _entry("google/gemma-3-1b-pt", 999.9, 26, 1, 256, _GEMMA, gated=True, note="Gemma Scope 2"),
    _entry("google/gemma-3-1b-it", 999.9, 26, 1, 256, _GEMMA, gated=True, chat=True, note="Gemma Scope 2"),
    _entry("google/gemma-2-2b", 2614.3, 26, 4, 256, _GEMMA, gated=True, note="Gemma Scope, the most studied SAEs"),
    _entry("google/gemma-2-2b-it", 2614.3, 26, 4, 256, _GEMMA, gated=True, chat=True, note="Gemma Scope of the base"),
    _entry("google/gemma-2b-it", 2506.2, 18, 1, 256, _GEMMA, gated=True, chat=True, note="The model of the DIR post"),
    _entry("google/gemma-3-4b-it", 3880.3, 34, 4, 256, _GEMMA, gated=True, chat=True, note="Gemma Scope 2"),
    _entry("google/gemma-2-9b-it", 9241.7, 42, 8, 256, _GEMMA, gated=True, chat=True, note="Gemma Scope"),
    _entry("Qwen/Qwen3-0.6B", 596.0, 28, 8, 128, _APACHE, chat=True, note="Transcoders"),
    _entry("Qwen/Qwen3-1.7B", 1720.6, 28, 8, 128, _APACHE, chat=True, note="Transcoders"),
    _entry("Qwen/Qwen3-4B", 4022.5, 36, 8, 128, _APACHE, chat=True, note="Transcoders"),
    _entry("Qwen/Qwen2.5-0.5B-Instruct", 494.0, 24, 2, 64, _APACHE, chat=True),
    _entry("meta-llama/Llama-3.2-1B-Instruct", 1235.8, 16, 8, 64, _LLAMA, gated=True, chat=True),
    _entry("meta-llama/Llama-3.1-8B", 8030.3, 32, 8, 128, _LLAMA, gated=True, note="Llama Scope"),
    _entry("meta-llama/Meta-Llama-3-8B-Instruct", 8030.3, 32, 8, 128, _LLAMA, gated=True, chat=True),
    _entry("mistralai/Mistral-7B-v0.1", 7241.7, 32, 8, 128, _APACHE),
    _entry("microsoft/Phi-3-mini-4k-instruct", 3821.1, 32, 32, 96, "MIT", chat=True),
)


@dataclass(frozen=True)
class SaeEntry:
    """One SAE of the registry; a field is None if neither the registry nor the names give it.

    `refused` is the reason why Tiller does not load it, empty for those that it loads.
    """

    release: str
    id: str
    model: str
    repo: str
    site: Site | None
    kind: str
    width: int | None
    l0: float | None
    explained_variance: float | None
    neuronpedia: str | None
    refused: str

    @cached_property
    def text(self) -> str:
        """The text that a search looks in."""
        width = "" if self.width is None else f"{round(self.width / 1024)}k {self.width}"
        site = "" if self.site is None else f"{self.site} layer {self.site.layer} {self.site.stream}"
        return f"{self.release} {self.id} {self.model} {site} {self.kind} {width} {self.neuronpedia or ''}".lower()


@cache
def saes() -> tuple[SaeEntry, ...]:
    """Every SAE of SAELens' registry."""
    return tuple(
        _sae_entry(release, about, sae_id, str(path))
        for release, about in registry().items()
        for sae_id, path in about.saes_map.items()
    )


def _sae_entry(release: str, about: Any, sae_id: str, path: str) -> SaeEntry:
    names = f"{sae_id} {path}"
    site, kind = _site(release, about, names)
    l0, explained = about.expected_l0.get(sae_id) or 0.0, about.expected_var_explained.get(sae_id, 1.0)
    refused = ""
    if about.conversion_func in PICKLED:
        refused = "Stored as a pickle, which can run code when read."
    elif about.conversion_func == "temporal":
        refused = "Its features depend on other tokens."
    elif "embedding" in sae_id:
        refused = "It reads the embedding, before the first block."
    # The registry gives 0 for an unknown L0 and 1 for an unknown explained variance.
    return SaeEntry(
        release, sae_id, canonical_model(about.model), about.repo_id, site, kind, _width(names, about),
        float(l0) or None, None if explained == 1.0 else float(explained), about.neuronpedia_id.get(sae_id), refused,
    )  # fmt: skip


def _site(release: str, about: Any, names: str) -> tuple[Site | None, str]:
    """An SAE's site and kind ("sae" or "transcoder"), from its names."""
    transcoder = "transcoder" in release or "clt" in release
    streams = "resid_pre|resid_mid|resid_post|attn_out|mlp_out|z"
    if hook := re.search(rf"blocks\.(\d+)\.(?:attn\.)?hook_({streams})(?![a-z])", names):
        return Site(int(hook[1]), "attn_z" if hook[2] == "z" else hook[2]), "sae"
    layer = re.search(r"layer_?(\d+)|\bl(\d+)[ram]_", names) or re.search(r"\bL(\d+)[RAM]\b", names)
    if layer is None or "embedding" in names:
        return None, "sae"
    number = int(next(group for group in layer.groups() if group is not None))
    if about.conversion_func == "mntss_clt_layer_transcoder":
        return None, "transcoder"  # only its config says what it reads
    if transcoder:
        return Site(number, "resid_mid" if about.conversion_func == "gemma_2_transcoder" else "mlp_in"), "transcoder"
    scope = {"r": "resid_post", "a": "attn_out", "m": "mlp_out"}
    if part := re.search(r"\bl\d+([ram])_", names):
        return Site(number, scope[part[1]]), "sae"
    gemma = about.conversion_func in ("gemma_2", "gemma_3")
    for word, stream in (("-att", "attn_z" if gemma else "attn_out"), ("-mlp", "mlp_out")):
        if word in release:
            return Site(number, stream), "sae"
    return Site(number, "resid_post"), "sae"


def _width(names: str, about: Any) -> int | None:
    """The number of an SAE's features, from its names."""
    known = f"{names} {about.release} {about.repo_id}"
    if found := re.search(r"width_(\d+)(k|m)|-v5-(\d+)(k)|-w-?(\d+)(k)", known):
        number, unit = (group for group in found.groups() if group)
        thousands = int(number) * (1 if unit == "k" else 1000)
        # "65k" is 65536 (the nearest power of two), "80k" is 81920 (80 x 1024).
        power = 1 << round(math.log2(thousands * 1000))
        return power if abs(power / (thousands * 1000) - 1) < 0.06 else thousands * 1024
    if found := re.search(r"width-2pow(\d+)", about.release):
        return 1 << int(found[1])
    if found := re.search(r"_(8|32)x\b", names):
        return int(found[1]) * 4096
    if found := re.search(r"(?:resid_pre|resid_post)_(\d{3,6})\b", names):
        return int(found[1])
    return {"gpt2-small-res-jb": 24576, "gpt2-small-mlp-tm": 24576}.get(about.release)


def search(query: str = "", rows: Iterable[SaeEntry] | None = None, *, readable: bool = False) -> list[SaeEntry]:
    """The SAEs whose release, id, model, site, width or label has every word of a query.

    Args:
        readable: leave out those that Tiller does not load.
    """
    words = query.lower().split()
    found = saes() if rows is None else rows
    return [row for row in found if all(word in row.text for word in words) and not (readable and row.refused)]


def fitting_saes(model: Model | ModelEntry | str) -> list[SaeEntry]:
    """The SAEs made on a model, then those made on the one it was tuned from (which often fit, and say so).

    A local folder counts as the model of the same name.
    """
    if isinstance(model, str):
        name, layers = model, None
    elif isinstance(model, ModelEntry):
        name, layers = model.hub_id, model.shape.n_layers
    else:
        name, layers = model.name, model.n_layers
    own, base = _called(name), _base(_called(name))
    exact = [row for row in saes() if _called(row.model) == own]
    near = [row for row in saes() if _called(row.model) != own and _base(_called(row.model)) == base]
    return [row for row in exact + near if layers is None or row.site is None or row.site.layer < layers]


def fitting_models(row: SaeEntry) -> list[ModelEntry]:
    """The recommended models that an SAE fits: the one it was made on first, then those tuned from it."""
    made_on = _called(row.model)
    near = [entry for entry in MODELS if _base(_called(entry.hub_id)) == _base(made_on)]
    return sorted(near, key=lambda entry: _called(entry.hub_id) != made_on)


def _called(name: str) -> str:
    """The last part of a hub id or a folder, in small letters."""
    return Path(canonical_model(name)).name.lower()


def _base(name: str) -> str:
    """A model's name without the suffixes of tuned variants, such as "-it"."""
    return re.sub(r"-(it|pt|instruct|base|chat)$", "", name).replace("meta-llama", "llama")
