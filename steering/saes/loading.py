"""Load dictionaries: those that ship, a SAELens folder, a release of SAELens' registry, or a layer's own neurons."""

from __future__ import annotations

import contextlib
import difflib
import io
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from sae_lens import SAE
from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

from ..checkpoints.confined import allowed
from ..checkpoints.downloads import Tick, fetch, kept
from ..models.model import Model
from ..sites import STREAMS, Site
from .neurons import NEURONS, neuron_dictionary
from .origins import differences, place_of, with_version
from .sae import Sae

BUNDLED = Path(__file__).parents[2] / "assets" / "saes"

# SAELens' loaders of releases whose files are pickles.
PICKLED = ("connor_rob_hook_z", "dictionary_learning_1", "deepseek_r1", "qwen_scope", "goodfire")


def bundled_saes() -> dict[str, list[str]]:
    """The SAEs that ship with Tiller: release -> ids."""
    found: dict[str, list[str]] = {}
    for config in sorted(BUNDLED.glob("*/*/cfg.json")):
        found.setdefault(config.parent.parent.name, []).append(config.parent.name)
    return found


def ids_of(release: str) -> list[str]:
    """The SAEs of a bundled release or of one in SAELens' registry; empty for anything else, such as a folder."""
    bundled = bundled_saes()
    if release in bundled:
        return bundled[release]
    directory = registry()
    return list(directory[release].saes_map) if release in directory else []


def middle_of(ids: Sequence[str]) -> str:
    """The id at the middle layer, by the first number in each; the shortest where a layer has several."""
    layers = {one: int(number[0]) if (number := re.search(r"\d+", one)) else 0 for one in ids}
    distinct = sorted(set(layers.values()))
    middle = distinct[len(distinct) // 2]
    return min((one for one in ids if layers[one] == middle), key=lambda one: (len(one), one))


def _quiet(load: Callable[[], Any]) -> Any:
    """Call `load` without SAELens' prints and warnings; what matters of them is in errors and in `Sae.warnings`."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return load()


def load_sae(lm: Model, release: str | Path, sae_id: str | None = None, *, tick: Tick | None = None) -> Sae:
    """An SAE for a model: bundled (release, id), a local SAELens folder, a release and id of SAELens' registry, or
    ("neurons", "layer 3"): the MLP neurons of a layer as they are.

    Without an id, the release's only SAE, or one at its middle layer; `notes` of the SAE say which others there are.

    Args:
        tick: called while the SAE is fetched, with the bytes that are here and the bytes in all; may raise.

    Raises:
        ValueError: no such folder, release or id (near ones are listed), an architecture or hook that cannot be
            steered, weights that are pickled, or an SAE that does not fit the model.
    """
    if str(release) == NEURONS:
        return neuron_dictionary(lm, sae_id or str(lm.n_layers // 2))
    device, folder, notes = str(lm.device), None, ()
    if sae_id is None and (ids := ids_of(str(release))):
        sae_id = middle_of(ids)
        others = ", ".join(one for one in ids if one != sae_id)
        notes = (f"chosen of {len(ids)}; the others: {others}",) if others else ()
    if sae_id is not None and sae_id in bundled_saes().get(str(release), ()):
        folder, name = BUNDLED / str(release) / sae_id, f"{release}/{sae_id}"
        sae = _quiet(lambda: SAE.load_from_disk(folder, device=device))
    elif Path(release).expanduser().is_dir():
        folder = allowed(Path(release).expanduser() / (sae_id or ""))
        name = folder.name
        if not (folder / "cfg.json").is_file():
            raise ValueError(f"An SAE folder holds cfg.json and its weights; {str(folder)!r} has no cfg.json.")
        if not (folder / "sae_weights.safetensors").is_file():
            raise ValueError(f"SAE weights are read from sae_weights.safetensors; {str(folder)!r} has none.")
        try:
            with with_version(folder) as readable:
                sae = _quiet(lambda: SAE.load_from_disk(readable, device=device))
            _try(sae)
        except Exception as error:  # SAELens lets JSON, key and safetensors errors through as they come
            raise ValueError(f"The SAE in {str(folder)!r} could not be read: {error}") from error
    else:
        sae, name = _from_registry(lm, str(release), sae_id, device, tick)
    found = fit(lm, sae.eval().requires_grad_(False), name)
    found.notes, found.folder = notes, folder
    return found


def _from_registry(lm: Model, release: str, sae_id: str | None, device: str, tick: Tick | None) -> tuple[Any, str]:
    directory = registry()
    bundled = bundled_saes()
    if release in bundled and release not in directory:
        near = difflib.get_close_matches(str(sae_id), bundled[release], n=3, cutoff=0.0)
        raise ValueError(f"{release!r} has no SAE {sae_id!r}; near: {', '.join(near)}.")
    if release not in directory:
        near = difflib.get_close_matches(release, [*directory, *bundled], n=3, cutoff=0.3)
        raise ValueError(
            f"An SAE is a bundled name, a folder, or a release of SAELens' registry; {release!r} is none of them."
            + (f" Near: {', '.join(near)}." if near else "")
        )
    ids = list(directory[release].saes_map)
    if sae_id not in ids:
        near = difflib.get_close_matches(str(sae_id), ids, n=3, cutoff=0.0)
        raise ValueError(f"{release!r} has {len(ids)} SAEs, none of them {sae_id!r}; near: {', '.join(near)}.")
    about = directory[release]
    if about.conversion_func in PICKLED:
        raise ValueError(
            f"{release!r} is stored as a pickle, which can run code when read, so Tiller does not load it. Where you "
            f"trust it, SAELens converts it: SAE.from_pretrained({release!r}, {sae_id!r}).save_model(folder); then "
            "give that folder."
        )
    fetch_files(about.repo_id, about.saes_map[str(sae_id)], tick)
    try:
        return _quiet(lambda: SAE.from_pretrained(release, str(sae_id), device=device)), f"{release}/{sae_id}"
    except Exception as error:  # SAELens lets its loaders' errors through as they come
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{release}/{sae_id} could not be loaded: {first}") from error


def _try(sae: Any) -> None:
    """Raise ValueError if an SAE holds NaN, or a setting with which it could not encode."""
    for name, weights in sae.named_parameters():
        if not bool(torch.isfinite(weights).all()):
            raise ValueError(f"{name} holds NaN or infinite numbers; save it again.")
    bias = getattr(sae.cfg, "apply_b_dec_to_input", True)
    if not isinstance(bias, bool):
        raise ValueError(f"apply_b_dec_to_input is true or false; its cfg.json says {bias!r}.")


def registry() -> dict[str, Any]:
    """SAELens' registry of published SAEs: release -> what it says of it."""
    return get_pretrained_saes_directory()


def fetch_files(repo: str, path: str, tick: Tick | None) -> None:
    """Download the files that SAELens will read into the hub's cache, with progress and clear errors."""
    fetch(repo, lambda names: _chosen(names, path), tick=tick)


def kept_files(release: str, sae_id: str) -> list[Path]:
    """Paths of a registry SAE's weights in the cache; empty if it has to be downloaded. Makes no network request.

    Raises:
        ValueError: no such release or id.
    """
    about = registry().get(release)
    if about is None or sae_id not in about.saes_map:
        raise ValueError(f"SAELens' registry has no {release!r} with an SAE {sae_id!r}.")
    path = about.saes_map[sae_id]

    def weights(names: Iterable[str]) -> list[str]:
        return [name for name in _chosen(names, path) if name.endswith((".safetensors", ".npz"))]

    found = kept(about.repo_id, weights)
    if found is None:
        return []
    here = [file.relative_to(found.folder).as_posix() for file in found.folder.rglob("*") if file.is_file()]
    return [found.folder / name for name in weights(here)]


def _chosen(names: Iterable[str], path: str) -> list[str]:
    """The files of a repository that make the SAE at a path: weights and settings."""
    names = list(names)
    found = [name for name in names if name.startswith(f"{path}/") or name == path]
    wanted = [name for name in found if name.endswith((".safetensors", ".json", ".npz", ".yaml"))]
    if found and not any(name.endswith((".safetensors", ".npz")) for name in wanted):
        raise ValueError(f"SAE weights are read from .safetensors or .npz files; {path!r} has none ({found[0]}).")
    return wanted + [name for name in names if "/" not in name and name.endswith(".yaml")]


def fit(lm: Model, sae: Any, name: str) -> Sae:
    """A SAELens object as an `Sae` of this model, with what it reads, where it writes, and what differs.

    Raises:
        ValueError: it has no place in this model, is of another width, or reads other tokens.
    """
    metadata = sae.cfg.metadata
    if sae.cfg.architecture() == "temporal":
        raise ValueError(f"{name} is a temporal SAE: its features depend on other tokens, so it cannot be used at one.")
    if not metadata.hook_name:
        raise ValueError(f"{name} does not say where it belongs: metadata.hook_name is missing in its cfg.json.")
    if metadata.hook_head_index is not None:
        raise ValueError(f"{name} reads one attention head; Tiller reads dictionaries of whole streams.")
    site, prepare = place_of(lm, metadata)
    if sae.cfg.d_in != lm.width(site):
        raise ValueError(f"{name} reads vectors of width {sae.cfg.d_in}; {lm.name} has width {lm.width(site)}.")
    writes = None
    if "transcoder" in sae.cfg.architecture():
        writes = lm.check_site(Site.parse(metadata.hook_name_out or Site(site.layer, "mlp_out")))
        if sae.cfg.d_out != lm.d_model:
            raise ValueError(f"{name} writes vectors of width {sae.cfg.d_out}; {lm.name} has width {lm.d_model}.")
    if getattr(sae.cfg, "reshape_activations", "none") == "hook_z":
        sae.turn_off_forward_pass_hook_z_reshaping()  # transformers keeps the heads side by side already
    # Made on TransformerLens' processed weights, what a LayerNorm model writes has its mean over channels removed.
    processed = (metadata.model_from_pretrained_kwargs or {}).get("center_writing_weights", False)
    center = bool(processed) and not lm.uses_rms_norm and site.stream in STREAMS and prepare is None
    mix = lm.mixing(site.layer) if site.stream == "attn_z" else None
    return Sae(name, site, sae, center, writes, prepare, mix, tuple(differences(lm, sae.cfg, site)))
