"""The workbench: a model's directions, typical norms, class projections and thresholds, each computed once.

One workbench belongs to one model and (optionally) one SAE, and is dropped with them. It keeps what it has computed up
to a limit of memory. Safe to use from several threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..directions.activations import ENCODE_TOKENS, Position, batches, of_pairs
from ..directions.agreement import FITS
from ..directions.class_means import class_mean
from ..directions.contrasts import fitted
from ..directions.direction import Direction, random_like
from ..directions.geometry.manifold import Manifold, manifold
from ..directions.pairs import PairSet, bundled_pairs
from ..directions.shipped import shipped
from ..engine.engine import Engine
from ..jobs.kept import Kept
from ..jobs.watching import progressed
from ..measurements.calibration import peaks
from ..measurements.known import Known
from ..measurements.neutral import neutral_texts
from ..measurements.numbers import NORM_TEXTS, typical_norms
from ..models.model import Model, Prompt
from ..saes.sae import Sae
from ..sites import Site
from .sources import Source, shown_position

T = TypeVar("T")
KEPT_BYTES = 256 * 2**20  # directions of 1,000 dictionaries of 65,536 features
PAIRS_READ = 40  # pairs whose every token is projected, for thresholds of controls


class SavedDirections(Protocol):
    """Directions kept by id: the Library's store is one."""

    def direction(self, direction_id: str, sae: Sae | None = None) -> Direction: ...


def bundled(name: str) -> PairSet:
    """The bundled pair set of that name; a link may name anything, and must not make a server read that file.

    Raises:
        ValueError: there is none.
    """
    if name not in bundled_pairs():
        raise ValueError(f"There is no pair set {name!r}; there are {', '.join(bundled_pairs()) or 'none'}.")
    return PairSet.load(name)


class Workbench:
    """Directions, typical norms, class projections and thresholds of one model and SAE.

    Args:
        of: the model, or an engine of it; thresholds that need generated answers take an engine.
        sae: the SAE in whose features directions may be read.
        store: saved directions by id, or None where there are none.
        pairs: the pair set of a name; by default only bundled ones are read.
        limit: how many bytes of what was made are kept; the least recently used goes first.
    """

    def __init__(
        self,
        of: Engine | Model,
        sae: Sae | None = None,
        store: SavedDirections | None = None,
        *,
        pairs: Callable[[str], PairSet] = bundled,
        limit: int = KEPT_BYTES,
    ) -> None:
        self.engine = of if isinstance(of, Engine) else None
        self.lm: Model = of.model if isinstance(of, Engine) else of
        self.sae, self.store, self.pairs = sae, store, pairs
        self._kept = Kept(limit, _own_bytes)
        self.known = Known(self.lm)

    # Kept values ----------------------------------------------------------------------------------------------------

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, computed now if it is not kept: for results of this model that a page needs again."""
        return self._kept.get(key, make)

    def find(self, key: Hashable) -> Any | None:
        """The value of a key if it is kept, else None; nothing is computed."""
        return self._kept.find(key)

    # Sites and SAE --------------------------------------------------------------------------------------------------

    def site(self, source: Source) -> Site:
        """Where a source is read: the SAE's site in feature space, else its layer (by default the middle) and stream.

        Raises:
            ValueError: the model has no such site, or there is no SAE.
        """
        if source.space == "feature":
            return self.need_sae("A direction in feature space").site
        return self.site_of(source.layer, source.stream)

    def site_of(self, layer: int | None, stream: str) -> Site:
        """The site of a layer (None is the middle one) and stream.

        Raises:
            ValueError: the model does not have it.
        """
        return self.lm.check_site(Site(self.lm.n_layers // 2 if layer is None else layer, stream))

    def need_sae(self, what: str) -> Sae:
        """The SAE.

        Raises:
            ValueError: there is none; the sentence says what needs it.
        """
        if self.sae is None:
            raise ValueError(f"{what} needs a sparse autoencoder (SAE); none is loaded. Choose one in the sidebar.")
        return self.sae

    # Directions -----------------------------------------------------------------------------------------------------

    def direction(self, source: Source, like: Direction | None = None, main: Source | None = None) -> Direction:
        """The direction of a source, made once.

        Args:
            like: the step's own direction, for a "random" or "negative" second one.
            main: where that one comes from.

        Raises:
            ValueError: there is no such pair set, saved direction or SAE, or it does not fit the model.
        """
        if source.kind == "saved":
            return self._saved(source.name)
        if source.kind == "random":
            if like is None or not source.name.isdecimal():
                raise ValueError(f'A random direction is "random:SEED", beside one that it is like; got {source}.')
            return random_like(like, int(source.name))
        if source.kind == "negative":
            return self._negative_mean(like, main)
        if source.kind not in ("pairs", "texts"):
            raise ValueError(f"A direction comes from a pair set, two texts or the Library; got {source.direction!r}.")
        if source.kind == "pairs" and not source.name:
            raise ValueError("Choose a direction for this step: a pair set, two texts, or one saved in the Library.")
        site = self.site(source)
        found = self._kept.get(self._key(source, site), lambda: self._made(source, site))
        self._kept.get(("origin", found.fingerprint), lambda: source)
        return found

    def at_hand(self, *sources: Source) -> bool:
        """Whether typical norms and the directions of sources are known, so that nothing has to be read for them."""
        made = [source for source in sources if source.kind in ("pairs", "texts")]
        known = all(self.find(self._key(source, self.site(source))) is not None for source in made)
        return known and self.find(("norms",)) is not None

    def _key(self, source: Source, site: Site) -> Hashable:
        key = ("direction", source.direction, source.contrast, source.space, source.position, site, source.top_k)
        return (*key, source.positive, source.negative) if source.kind == "texts" else key

    def _made(self, source: Source, site: Site) -> Direction:
        sae = self.sae if source.space == "feature" else None
        pairs = self.pair_set(source)
        found = shipped(self.lm, pairs, site, source.contrast, source.read_at) if sae is None else None
        if found is None:
            read = self.activations(pairs, [site], source.read_at, sae)[site]
            fit = FITS[source.contrast]
            found = fitted(source.contrast, fit, read, self.lm, pairs, site, position=source.read_at, sae=sae)
        if source.kind == "pairs":
            how = "" if source.contrast == "mean_difference" else f", {source.contrast}"
            how += "" if source.position == "completion_mean" else f", {shown_position(source.position).lower()}"
            space = "" if sae is None else " features"
            found = replace(found, name=f"{source.name}, layer {site.layer}{space}{how}")
        return replace(found.top_k(source.top_k), name=found.name) if source.top_k else found

    def activations(
        self, pairs: PairSet, sites: Sequence[Site], position: Position = "completion_mean", sae: Sae | None = None
    ) -> dict[Site, tuple[Float[Tensor, "pairs width"], Float[Tensor, "pairs width"]]]:
        """The activations of both sides of every pair at sites: those that are known, without a pass of the model.

        Raises:
            ValueError: a text that cannot be read there, or a site that the model does not have.
        """
        if sae is not None:  # the mean of a text's features is not found from the mean of its activations
            return of_pairs(self.lm, pairs, sites, sae=sae, position=position)
        return self.known.of_pairs(pairs, sites, position=position)

    def pair_set(self, source: Source) -> PairSet:
        """The pairs that a source is made from; two texts are one pair.

        Raises:
            ValueError: there is no such set, or a text is empty.
        """
        if source.kind == "pairs":
            return self.pairs(source.name)
        if not source.positive.strip() or not source.negative.strip():
            raise ValueError("A direction from two texts needs both of them; one is empty.")
        name = f"“{_start(source.positive)}” − “{_start(source.negative)}”"
        return PairSet.from_lists([source.positive], [source.negative], name=name)

    def _saved(self, direction_id: str) -> Direction:
        if self.store is None:
            raise ValueError("A saved direction is read from a Library; there is none here.")
        return self.store.direction(direction_id, self.sae).check(self.lm)

    def _negative_mean(self, like: Direction | None, main: Source | None) -> Direction:
        """The mean of the negative texts that a direction was made from, read as it was."""
        if like is None or main is None:
            raise ValueError('A "negative" mean belongs to the pairs of another direction; there is none.')
        if main.kind == "saved":
            known = str(dict(like.provenance.get("pairs") or {}).get("name", ""))
            read_at = like.provenance.get("position", "completion_mean")
            if self._pairs_or_none(known) is None:
                raise ValueError(
                    f"The saved direction {like.name!r} does not say which pairs at hand it was made from, so the mean "
                    "of their negative texts is not known. Choose another reference."
                )
            main = replace(Source(), direction=f"pairs:{known}", position=str(read_at))
        position = main.read_at
        key = ("negative", main.direction, main.positive, main.negative, position, like.site, like.sae is None)

        def make() -> Direction:
            pairs = self.pair_set(main)
            read = self.activations(pairs, [like.site], position, like.sae)[like.site]
            return class_mean(self.lm, pairs, like.site, position=position, sae=like.sae, read=read)

        return self._kept.get(key, make)

    def random_like(self, direction: Direction, seed: int) -> Direction:
        """The control: a random direction of the same norm, space and number of nonzero entries."""
        return random_like(direction, seed)

    def across_layers(self, source: Source, stream: str, position: Position) -> tuple[list[str], list[Direction]]:
        """Names of the layers, and the mean difference of the source's pairs at the stream of each."""

        def make() -> tuple[list[str], list[Direction]]:
            sites = [Site(layer, stream) for layer in range(self.lm.n_layers)]
            found = self.activations(self.pair_set(source), sites, position)
            made = [Direction(found[site][0].mean(0) - found[site][1].mean(0), site) for site in sites]
            return [f"layer {site.layer}" for site in sites], made

        key = ("layers", source.direction, source.positive, source.negative, stream, position)
        return self._kept.get(key, make)

    def manifold(self, texts: Sequence[str], site: Site, k: int) -> Manifold:
        """The first k principal directions of the texts' activations at a site.

        Raises:
            ValueError: no text, or one that cannot be read.
        """
        return self._kept.get(("manifold", tuple(texts), site, k), lambda: manifold(self.lm, texts, site, k=k))

    # Norms and projections ------------------------------------------------------------------------------------------

    @property
    def neutral(self) -> list[str]:
        """The first of the model's neutral texts."""
        return neutral_texts(self.lm.name)[:NORM_TEXTS]

    def typical_norm(self, site: Site) -> float:
        """The median norm of the activations at a site on neutral text: the unit in which a strength is chosen.

        Every layer and stream is measured in one pass, once for a model (see known.py).
        """
        self.lm.check_site(site)
        if site.stream not in self.lm.streams:  # inside a part
            return self._kept.get(("norm", site), lambda: typical_norms(self.lm, [site], self.neutral)[site])
        return self._kept.get(("norms",), self.known.norms)[site]

    def projections(self, direction: Direction, source: str = "") -> dict[str, list[float]]:
        """Projections on a direction: of the two sides of a pair set ("positive", "negative"), and of "neutral" tokens.

        Args:
            source: "pairs:NAME"; otherwise the set that the direction says it was made from. Without a set that is at
                hand there are neutral tokens only.
        """
        known = str(dict(direction.provenance.get("pairs") or {}).get("name", ""))
        name = source.removeprefix("pairs:") if source.startswith("pairs:") else known
        key = ("projections", name, direction.fingerprint)
        return self._kept.get(key, lambda: self._projections(direction, name))

    def _projections(self, direction: Direction, name: str) -> dict[str, list[float]]:
        unit = direction.vector / direction.norm
        groups: dict[str, list[float]] = {}
        pairs = self._pairs_or_none(name)
        if pairs is not None:
            position = direction.provenance.get("position", "completion_mean")
            sides = self.activations(pairs, [direction.site], position, direction.sae)[direction.site]
            for side, h in zip(("positive", "negative"), sides, strict=True):
                groups[side] = (h.float() @ unit).tolist()
        groups["neutral"] = self.neutral_projections(direction)
        return groups

    def _origin(self, direction: Direction) -> PairSet | None:
        """The pairs that a direction was made from, by its source or its provenance; None if they are not available."""
        source: Source | None = self.find(("origin", direction.fingerprint))
        if source is not None:
            return self.pair_set(source)
        return self._pairs_or_none(str(dict(direction.provenance.get("pairs") or {}).get("name", "")))

    def neutral_projections(self, direction: Direction) -> list[float]:
        """Projections on a direction of every token of neutral text but the first of each."""
        key = ("neutral", direction.fingerprint)
        return self._kept.get(key, lambda: self._neutral(direction).tolist())

    def _pairs_or_none(self, name: str) -> PairSet | None:
        try:
            return self.pairs(name) if name else None
        except ValueError:
            return None

    def midpoint(self, direction: Direction, source: str = "") -> float:
        """The midpoint between the projections of the two classes of the pairs; 0 without pairs."""
        groups = self.projections(direction, source)
        if not groups.get("positive") or not groups.get("negative"):
            return 0.0
        means = [sum(groups[side]) / len(groups[side]) for side in ("positive", "negative")]
        return float(f"{sum(means) / 2:.3g}")

    # Thresholds -----------------------------------------------------------------------------------------------------

    def peaks(
        self, direction: Direction, prompts: Sequence[Prompt], *, answer_tokens: int = 0, last: bool = False
    ) -> list[float]:
        """The largest projection on a direction among each text's tokens; see `measurements.calibration.peaks`.

        Raises:
            ValueError: the workbench was made of a model, not of an engine.
        """
        if self.engine is None:
            raise ValueError("Peaks are read by an engine; make the workbench of one: Workbench(engine).")
        engine = self.engine
        said = hashlib.sha256(repr([list(p) if not isinstance(p, str) else p for p in prompts]).encode()).hexdigest()
        key = ("peaks", direction.fingerprint, said, answer_tokens, last)
        return self._kept.get(key, lambda: peaks(engine, prompts, direction, answer_tokens=answer_tokens, last=last))

    def firing_tau(self, tested: Direction, tau: float, control: Direction) -> float:
        """The threshold at which a control fires on as many tokens as the tested direction does above tau.

        Counted on every token of neutral text and of the pairs that the tested direction was made from. Where tau lies
        above or below all of them, the control's threshold lies as many standard deviations from its own mean.
        """
        own, other = self._everywhere(tested, tested), self._everywhere(control, tested)
        share = float((own > tau).float().mean())
        if 0 < share < 1:
            return float(torch.quantile(other, 1 - share))
        deviations = (tau - float(own.mean())) / max(float(own.std()), 1e-12)
        return float(other.mean()) + deviations * float(other.std())

    def _everywhere(self, direction: Direction, tested: Direction) -> Float[Tensor, "tokens"]:
        """Projections of every token of neutral text, and of the pairs of the tested direction, on a direction."""

        def make() -> Tensor:
            pairs = self._origin(tested)
            texts = [text for pair in list(pairs or ())[:PAIRS_READ] for text in ("".join(side) for side in pair.sides)]
            return torch.cat([self._neutral(direction), *self._tokens(direction, self._ids(texts))])

        return self._kept.get(("everywhere", direction.fingerprint, tested.fingerprint), make)

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of texts, cut to the context; those of at least two."""
        found = [self.lm.encode(text)[: self.lm.n_ctx - 1] for text in texts]
        return [ids for ids in found if len(ids) > 1]

    def _neutral(self, direction: Direction) -> Float[Tensor, "tokens"]:
        """The projection of every token of neutral text but the first of each."""
        return torch.cat(_projected(self.known.neutral(direction.site), direction))

    def _tokens(self, direction: Direction, prompts: Sequence[Sequence[int]]) -> list[Float[Tensor, "tokens"]]:
        """The projections of every token but the first of each text, whose activation is far off in most models."""
        found: list[Tensor] = []
        for batch in batches([len(ids) for ids in prompts], self.lm.piece_tokens):
            progressed(sum(map(len, found)), sum(map(len, prompts)))
            read, mask = self.lm.activations([prompts[row] for row in batch], [direction.site])
            later = mask & (mask.long().cumsum(-1) > 1)
            found += _projected(read[direction.site][later], direction)
        return found


def _projected(h: Float[Tensor, "tokens d_model"], direction: Direction) -> list[Float[Tensor, "some"]]:
    unit, sae = direction.vector / direction.norm, direction.sae
    parts = ((part if sae is None else sae.encode(part)).to("cpu", torch.float32) for part in h.split(ENCODE_TOKENS))
    return [part @ unit for part in parts]


def _start(text: str) -> str:
    words = text.split()
    return " ".join(words[:4]) + ("…" if len(words) > 4 else "")


def _own_bytes(value: Any) -> int | None:
    """The bytes of a direction without its SAE, which the shelf counts; None for anything else."""
    return 4 * value.vector.numel() + 500 if isinstance(value, Direction) else None
