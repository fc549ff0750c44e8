"""A sparse autoencoder (SAE) at a site: encode, decode, and decode a difference of features.

Encoding is always SAELens' own, so every architecture
means what its authors meant; a slice of an SAE is an SAELens object too, of the same class with fewer features.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..showing.one_line import one_line, quoted
from ..sites import Site
from .origins import trained_on

# A feature of these depends on its own weights only. TopK needs the k-th largest of all features, and matching pursuit
# the residue that the others leave, so they are always encoded whole.
SLICEABLE = (
    "standard", "gated", "jumprelu",
    "transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder",
)  # fmt: skip


@dataclass(eq=False)
class Sae:
    """A dictionary at a site: `encode` residual to features, `decode` back, `rows` for what a feature writes.

    An edit in feature space adds `change @ rows` to the residual stream and so keeps the SAE's error: decoding is
    affine, hence decode(f + change) - decode(f) = change @ W_dec, and nothing has to be decoded twice.

    A transcoder reads at `site` what the MLP gets and `writes` what the MLP gives, so its features can be read, and
    added to, but not set: what they are is known at one place and what they do at another.
    """

    name: str
    site: Site
    sae: Any
    center: bool = False
    writes: Site | None = None  # where a transcoder writes; None for a dictionary that writes where it reads
    prepare: Callable[[Tensor], Tensor] | None = None  # what is done to the activation before it is encoded
    mix: Tensor | None = None  # from the SAE's space to the stream's, for a dictionary of the heads' outputs
    warnings: tuple[str, ...] = ()  # in what this model differs from the one that the SAE was made on
    notes: tuple[str, ...] = ()  # what was chosen for the person who loaded it
    folder: Path | None = None  # where its files are, for one that was loaded from a folder
    _slices: dict[tuple[int, ...], SaeSlice] = field(default_factory=dict, repr=False)
    # SAELens keeps the statistics of an input on the object between encode and decode.
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def __repr__(self) -> str:
        place = f"at {self.site}" + (f", written to {self.writes}" if self.writes else "")
        return one_line(
            self,
            quoted(self.name, 80),
            f"{self.d_sae:,} features {place}",
            self.architecture,
            *self.notes,
            *self.warnings,
        )

    @property
    def architecture(self) -> str:
        return str(self.sae.cfg.architecture())

    @property
    def d_sae(self) -> int:
        return int(self.sae.cfg.d_sae)

    @property
    def d_model(self) -> int:
        """The width of the vectors that it reads: the model's, but for a dictionary of the heads' outputs."""
        return int(self.sae.cfg.d_in)

    @property
    def is_transcoder(self) -> bool:
        """Whether it writes at another site than it reads."""
        return self.writes is not None

    def check_editable(self) -> None:
        """Raise ValueError if the dictionary's features can be read but not set."""
        if self.writes is not None:
            raise ValueError(
                f"{self.name} is a transcoder: it reads {self.site} and writes {self.writes}, so its features can be "
                "read and added to, not set. Use an SAE of the stream for that."
            )

    @property
    def metadata(self) -> dict[str, Any]:
        return self.sae.cfg.metadata.to_dict()

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.architecture.encode())
        for name, tensor in sorted(self.sae.state_dict().items()):
            flat = tensor.detach().reshape(-1)
            sample = flat[:: max(1, flat.numel() // 256)][:256].to("cpu", torch.float32)
            digest.update(f"{name}{tuple(tensor.shape)}".encode() + sample.numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def identity(self) -> dict[str, Any]:
        """What a saved direction in feature space remembers of the SAE."""
        return {"sae": self.name, "site": str(self.site), "d_sae": self.d_sae, "fingerprint": self.fingerprint}

    @property
    def W_dec(self) -> Float[Tensor, "d_sae d_model"]:
        """The decoder as it is stored; see `rows` for what a feature writes."""
        return self.sae.W_dec.detach()

    @property
    def rows(self) -> Float[Tensor, "d_sae d_model"]:
        """What one unit of each feature writes, for an SAE that does not rescale its input at run time."""
        rows = self.W_dec.float()
        if getattr(self.sae.cfg, "rescale_acts_by_decoder_norm", False):
            rows = rows / rows.norm(dim=-1, keepdim=True)
        return rows

    @property
    def written(self) -> Float[Tensor, "d_sae d_stream"]:
        """What one unit of each feature adds to the residual stream, for the logit lens and for cosines."""
        return self.rows if self.mix is None else self.rows @ self.mix.float()

    @property
    def normalizes(self) -> bool:
        """Whether the SAE rescales each input at run time, so that what a feature writes depends on the token."""
        return self.sae.cfg.normalize_activations in ("layer_norm", "constant_norm_rescale")

    @torch.no_grad()
    def encode(self, h: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_sae"]:
        """Feature activations, by SAELens' own encode, in the SAE's dtype."""
        return self._encode(self.sae, h)

    @torch.no_grad()
    def reconstruct(self, h: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """decode(encode(h)): what is left of the activation without the SAE's error.

        Raises:
            ValueError: a transcoder, which approximates what the MLP gives and not what it reads.
        """
        self.check_editable()
        with self._lock:
            out = self.sae.decode(self.sae.encode(self._centered(h)))
        # A centered dictionary has never seen the mean over channels; it is not part of its error, so it is put back.
        out = out + h.to(out.dtype).mean(-1, keepdim=True) if self.center else out
        known = trained_on(self.sae.cfg.metadata, h)
        return out if known is None else torch.where(known, out, h.to(out.dtype))

    @torch.no_grad()
    def decode(self, f: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_model"]:
        """The reconstruction of feature activations.

        Raises:
            ValueError: the SAE rescales by its input, which features alone do not determine; use `reconstruct`.
        """
        if self.normalizes:
            raise ValueError(
                f"{self.name} rescales every input ({self.sae.cfg.normalize_activations}), so features alone do not "
                "determine the reconstruction. Use reconstruct(h)."
            )
        return self.sae.decode(f.to(self.sae.dtype))

    def scale(self, h: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch 1"] | None:
        """The factor between what a feature writes in the SAE's units and in the residual stream, or None for 1."""
        if not self.normalizes:
            return None
        h = self._centered(h)
        if self.sae.cfg.normalize_activations == "layer_norm":
            # SAELens: (x - mean) / (std + 1e-5) with the unbiased std, undone by * std + mean.
            return h.std(-1, keepdim=True)
        return h.norm(dim=-1, keepdim=True) / self.d_model**0.5

    @property
    def sliceable(self) -> bool:
        """Whether a few features can be evaluated without the others."""
        return self.architecture in SLICEABLE

    def features(self, indices: Sequence[int]) -> SaeSlice:
        """Some features of the SAE, evaluated alone where the architecture allows it.

        Raises:
            ValueError: an index outside 0 .. d_sae - 1.
        """
        key = tuple(int(index) for index in indices)
        bad = [index for index in key if not 0 <= index < self.d_sae]
        if bad:
            raise ValueError(f"Features of {self.name} run from 0 to {self.d_sae - 1}; got {bad[0]}.")
        if key not in self._slices:
            if len(self._slices) >= 64:
                self._slices.pop(next(iter(self._slices)))
            self._slices[key] = SaeSlice(self, key)
        return self._slices[key]

    def _centered(self, h: Tensor) -> Tensor:
        h = h if self.prepare is None else self.prepare(h)
        return h - h.mean(-1, keepdim=True) if self.center else h

    def _encode(self, sae: Any, h: Tensor) -> Tensor:
        with self._lock:
            features = sae.encode(self._centered(h))
            # It leaves the statistics of this input there for a decode that never comes.
            for name in ("ln_mu", "ln_std", "x_norm_coeff") if self.normalizes else ():
                if hasattr(sae, name):
                    delattr(sae, name)
        features = features.to_dense() if features.is_sparse else features
        known = trained_on(self.sae.cfg.metadata, h)
        return features if known is None else features * known


class SaeSlice:
    """Chosen features of an SAE: `encode` gives only theirs, `rows` what they write."""

    def __init__(self, parent: Sae, indices: tuple[int, ...]) -> None:
        self.parent, self.indices = parent, indices
        index = torch.tensor(indices, dtype=torch.long, device=parent.W_dec.device)
        self._index = index
        self.rows: Float[Tensor, "k d_model"] = parent.W_dec[index].float()
        if getattr(parent.sae.cfg, "rescale_acts_by_decoder_norm", False):
            self.rows = self.rows / self.rows.norm(dim=-1, keepdim=True)
        self.sliced = parent.sliceable and len(indices) < parent.d_sae
        self._sae = _sliced(parent.sae, index) if self.sliced else parent.sae
        if self.sliced:
            self._verify()

    @torch.no_grad()
    def encode(self, h: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch k"]:
        features = self.parent._encode(self._sae, h)
        return features if self.sliced else features[..., self._index]

    def _verify(self) -> None:
        """Fall back to the whole encoder if a slice does not give the same numbers."""
        # At several lengths: near b_dec few features fire, and then even a wrong slice gives the same zeros.
        probe = torch.randn(3, 8, self.parent.d_model, generator=torch.Generator().manual_seed(0)).to(self.rows.device)
        b_dec = self.parent.sae.b_dec.detach().float()
        lengths = torch.tensor([1.0, 4.0, 16.0], device=probe.device)[:, None, None]
        probe = b_dec + probe * lengths * (b_dec.norm() / probe.shape[-1] ** 0.5 + 1)
        whole = self.parent.encode(probe)[..., self._index]
        if not torch.allclose(self.encode(probe), whole, rtol=1e-3, atol=1e-4 * float(whole.abs().max() + 1)):
            self.sliced, self._sae = False, self.parent.sae


def _sliced(sae: Any, index: Tensor) -> Any:
    """An SAE of the same class with the features of `index` only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = type(sae)(dataclasses.replace(copy.copy(sae.cfg), d_sae=len(index)))
    state = {}
    for name, tensor in sae.state_dict().items():
        features_axis = {"W_enc": 1, "W_dec": 0, "b_dec": None, "b_dec_out": None, "W_skip": None}.get(name, 0)
        state[name] = tensor if features_axis is None else tensor.index_select(features_axis, index)
    small.load_state_dict(state)
    return small.to(sae.W_dec.device).eval().requires_grad_(False)
