"""What is measured on one model. Each function returns lines of the report: what, how much, and the target."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from steering.checkpoints.memory import MOST_PACKED
from steering.directions.contrasts import mean_difference
from steering.directions.pairs import PairSet
from steering.engine.completion import Completion
from steering.engine.decoding import Decoder
from steering.engine.engine import Engine
from steering.engine.requests import Request, Variant
from steering.engine.rows import Row
from steering.interventions import ActivationAddition
from steering.models.model import Model
from steering.models.packing import PackedLinears
from steering.sites import Site

from . import peers
from .machine import busy_process, read_bandwidth
from .timing import Timing, interleaved
from .variants import ALPHA, eight, prompt_of, regulators

PROMPT, NEW = 24, 64
LONG_PROMPT = 128
PAIRS = 200


@dataclass(frozen=True)
class Targets:
    """The floors (`at least`) and ceilings (`at most`) for one model."""

    bridge: float
    others: float
    steered: float
    regulators: float
    prefill: float
    busy: float


@dataclass(frozen=True)
class Line:
    """One line of the report."""

    what: str
    value: str
    target: str = ""
    met: bool | None = None
    detail: str = ""


@dataclass
class Bench:
    """One model, its plain copy for the peers, and how often things are repeated."""

    model: Model
    targets: Targets
    repeats: int  # of what takes long, the peers
    short_repeats: int
    plain: Any = None
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = Engine(self.model, remember=0)

    def run(self) -> list[Line]:
        """All lines, in the order of the report."""
        for part in (
            self.against_peers,
            self.against_unsteered,
            self.against_unpacked,
            self.first_tokens,
            self.one_slider_moved,
            self.beside_a_busy_process,
            self.direction_of_pairs,
            self.bandwidth_share,
        ):
            print(f"  {part.__name__.replace('_', ' ')} ...", flush=True)
            for line in part():
                self.lines.append(line)
                print(f"    {line.what}: {line.value} {line.detail}", flush=True)
        self.engine.close()
        return self.lines

    def decode(self, variants: Sequence[Variant], prompt: int = PROMPT, new: int = NEW) -> list[Completion]:
        return self.engine.generate(prompt_of(self.model, prompt), variants, max_new_tokens=new, ignore_eos=True)

    # The lines ------------------------------------------------------------------------------------------------------

    def against_peers(self) -> list[Line]:
        """Ours against one variant after another, and whether the tokens are the same."""
        variants, prompt = eight(self.model), prompt_of(self.model, PROMPT)
        middle = self.model.n_layers // 2
        others = peers.contestants(self.plain, self.model, (middle, middle + 1))
        ours = [variant.ours for variant in variants]
        self.decode(ours, new=4)
        for peer in others.values():
            peer(prompt, variants, 2)
        runs = {"Tiller": lambda: [one.tokens for one in self.decode(ours)]}
        runs |= {name: (lambda peer=peer: peer(prompt, variants, NEW)) for name, peer in others.items()}
        timings = interleaved(runs, self.repeats)
        lines = [Line("Tiller, one batch", _ms(timings["Tiller"]))]
        for name in others:
            target = self.targets.bridge if name == "TransformerLens" else self.targets.others
            same = [
                name in ("TransformerLens", "transformers")
                or not variant.ours
                or variant.same_vectors
                or (name == "steering-vectors" and variant.ablates)
                for variant in variants
            ]
            pairs = zip(timings["Tiller"].result, timings[name].result, same, strict=True)
            differing = sum(
                a != b for mine, theirs, compared in pairs if compared for a, b in zip(mine, theirs, strict=True)
            )
            ratio = timings[name].over(timings["Tiller"])
            lines.append(
                Line(
                    f"{name}, one variant after another",
                    f"{ratio:.1f} x",
                    f"at least {target:g} x",
                    ratio >= target,
                    f"{_ms(timings[name])}; differing tokens: {differing} of {NEW * sum(same)}",
                )
            )
        return lines

    def against_unsteered(self) -> list[Line]:
        """Eight rows steered, eight rows regulated on a wide SAE, against eight rows unsteered."""
        steered, regulated = [variant.ours for variant in eight(self.model)], regulators(self.model, 24576)
        runs = {
            "unsteered": lambda: self.decode([()] * 8),
            "steered": lambda: self.decode(steered),
            "regulated": lambda: self.decode(regulated),
        }
        for run in runs.values():
            run()
        timings = interleaved(runs, self.short_repeats)
        lines = []
        for name, what, limit in (
            ("steered", "baseline + 7 variants against 8 unsteered rows", self.targets.steered),
            ("regulated", "7 regulators, 32 of 24,576 features, against 8 unsteered rows", self.targets.regulators),
        ):
            ratio = timings[name].over(timings["unsteered"])
            detail = f"{_ms(timings[name])} against {_ms(timings['unsteered'])}"
            lines.append(Line(what, f"{ratio:.2f}", f"at most {limit:g}", ratio <= limit, detail))
        return lines

    def against_unpacked(self) -> list[Line]:
        """Eight rows by packed copies of the weights against torch's own products, and what the copies take."""
        packed, plain = PackedLinears(self.model.hf, MOST_PACKED), PackedLinears(self.model.hf, 0)

        def decode_by(copies: PackedLinears) -> None:
            kept, self.model.__dict__["_packed"] = self.model._packed, copies
            try:
                self.decode([()] * 8)
            finally:
                self.model.__dict__["_packed"] = kept

        runs = {"packed": lambda: decode_by(packed), "plain": lambda: decode_by(plain)}
        for run in runs.values():
            run()
        timings = interleaved(runs, self.short_repeats)
        size = sum(4 * module.get_parameter("weight").numel() for module, _ in packed._made or [])
        detail = f"{_ms(timings['plain'])} against {_ms(timings['packed'])}; the copies take {size / 2**20:,.0f} MiB"
        ratio = timings["plain"].over(timings["packed"])
        return [
            Line(
                "8 unsteered rows by torch's own matrix products, against packed ones",
                f"{ratio:.2f} x",
                "",
                None,
                detail,
            )
        ]

    def first_tokens(self) -> list[Line]:
        """One prompt shared by eight rows against eight prompts of the same length, which share nothing."""
        variants = [variant.ours for variant in eight(self.model)]
        apart = [prompt_of(self.model, LONG_PROMPT, seed) for seed in range(8)]
        requests = [
            Request(prompt, variant, max_new_tokens=1, ignore_eos=True)
            for prompt, variant in zip(apart, variants, strict=True)
        ]
        runs = {
            "shared": lambda: self.decode(variants, LONG_PROMPT, 1),
            "apart": lambda: [handle.result() for handle in self.engine.submit_all(requests)],
        }
        for run in runs.values():
            run()
        timings = interleaved(runs, 2 * self.short_repeats)
        ratio = timings["shared"].over(timings["apart"])
        detail = f"{_ms(timings['shared'])} against {_ms(timings['apart'])}"
        limit = self.targets.prefill
        what = f"first token of 8 rows, {LONG_PROMPT}-token prompt, shared prefill against separate"
        return [Line(what, f"{ratio:.2f}", f"at most {limit:g}", ratio <= limit, detail)]

    def one_slider_moved(self) -> list[Line]:
        """How many rows are decoded again when one of eight changes, and in what share of the time."""
        variants = [variant.ours for variant in eight(self.model)]
        prompt = prompt_of(self.model, PROMPT)
        rounds: list[tuple[int, int]] = []
        first, again = Timing(), Timing()
        for _ in range(self.short_repeats):
            with Engine(self.model) as engine:
                moved = list(variants)
                moved[1] = (ActivationAddition(variants[1][0].direction, ALPHA + 0.5),)
                for timing, wanted in ((first, variants), (again, moved)):
                    one = interleaved(
                        {"": lambda w=wanted: engine.generate(prompt, w, max_new_tokens=NEW, ignore_eos=True)}, 1
                    )[""]
                    timing.wall += one.wall
                    timing.cpu += one.cpu
                    rounds.append((engine.decoded_rows, len(wanted)))
        count = rounds[1][0] - rounds[0][0]
        detail = f"{_ms(again)} against {_ms(first)} for all eight"
        return [Line("one slider moved: rows decoded again", f"{count} of 8", "1 of 8", count == 1, detail)]

    def beside_a_busy_process(self) -> list[Line]:
        """How much slower decoding gets when another process keeps one core busy."""
        variants = [variant.ours for variant in eight(self.model)]

        def beside() -> None:
            with busy_process():
                busy.append(interleaved({"": lambda: self.decode(variants)}, 1)[""].wall[0])

        busy: list[float] = []
        quiet: list[float] = []
        for _ in range(self.short_repeats):
            quiet.append(interleaved({"": lambda: self.decode(variants)}, 1)[""].wall[0])
            beside()
        alone, other = Timing(quiet, quiet), Timing(busy, busy)
        ratio = other.over(alone)
        limit = self.targets.busy
        detail = f"{1e3 * other.seconds:,.0f} ms against {1e3 * alone.seconds:,.0f} ms"
        return [
            Line("beside one busy process", f"{ratio:.2f} x slower", f"at most {limit:g} x", ratio <= limit, detail)
        ]

    def direction_of_pairs(self) -> list[Line]:
        """A direction from pairs at one layer: the mean difference of the last token, and repeng's only method, PCA."""
        site = Site(self.model.n_layers // 2, "resid_pre")
        texts = [self.model.text(prompt_of(self.model, 8 + seed % 9, seed)).strip() for seed in range(2 * PAIRS)]
        positives, negatives = texts[:PAIRS], texts[PAIRS:]
        pairs = PairSet.from_lists(positives, negatives)
        tokenizer = copy.deepcopy(self.model.tokenizer)
        runs: dict[str, Any] = {"Tiller": lambda: mean_difference(self.model, pairs, site, position="last").vector}
        if peers.version("steering-vectors"):
            from steering_vectors import train_steering_vector

            runs["steering-vectors"] = lambda: train_steering_vector(
                self.plain, tokenizer, list(zip(positives, negatives, strict=True)), [site.layer - 1], batch_size=32
            ).layer_activations[site.layer - 1]
        if peers.version("repeng"):
            module = peers.import_repeng()
            entries = [module.DatasetEntry(a, b) for a, b in zip(positives, negatives, strict=True)]
            runs["repeng"] = lambda: module.ControlVector.train(
                self.plain, tokenizer, entries, hidden_layers=[site.layer - 1], batch_size=32
            )
        for run in runs.values():
            run()
        timings = interleaved(runs, self.short_repeats)
        lines = [Line(f"a direction of {PAIRS} pairs at one layer", _ms(timings["Tiller"]))]
        for name in [name for name in runs if name != "Tiller"]:
            ratio, detail = timings[name].over(timings["Tiller"]), _ms(timings[name])
            if name == "steering-vectors":
                ours, theirs = timings["Tiller"].result, timings[name].result
                detail += f"; largest difference between the vectors {float((ours - theirs).abs().max()):.1e}"
            lines.append(Line(f"a direction of {PAIRS} pairs by {name}", f"{ratio:.1f} x", "", None, detail))
        return lines

    def bandwidth_share(self) -> list[Line]:
        """Bytes of weights that a step reads, over what memory delivers in the time of a step."""
        embeddings = {self.model.hf.get_input_embeddings().weight, self.model.hf.transformer.wpe.weight}  # type: ignore
        # Tied: the input embedding is read whole as the output one. Positions and single words are a few rows.
        read = {*self.model.hf.parameters()} - embeddings | {self.model.hf.get_output_embeddings().weight}  # type: ignore
        size = sum(p.numel() * p.element_size() for p in read)
        lines = []
        bandwidth = read_bandwidth()
        for rows in (1, 8):
            step = self._step_seconds(rows)
            share = size / bandwidth / step
            detail = (
                f"{size / 2**20:,.0f} MiB of weights a step, {bandwidth / 1e9:.1f} GB/s measured, "
                f"{1e3 * step:.1f} ms a step of {rows} row{'s' * (rows > 1)}"
            )
            lines.append(
                Line(f"share of the memory bandwidth, {rows} row{'s' * (rows > 1)}", f"{share:.0%}", "", None, detail)
            )
        return lines

    def _step_seconds(self, rows: int) -> float:
        """The median time of one step of the decode loop, for rows of one prompt without steering."""
        decoder = Decoder(self.model)
        prompt = tuple(prompt_of(self.model, PROMPT))
        decoder.add([Row(self.model, prompt, max_new_tokens=NEW, ignore_eos=True) for _ in range(rows)])
        seconds = []
        while len(decoder):
            start = time.perf_counter()
            decoder.step()
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)


def _ms(timing: Timing) -> str:
    return f"{1e3 * timing.seconds:,.0f} ms (CPU {1e3 * timing.cpu_seconds:,.0f})"


def plain_copy(model: Model) -> Any:
    """A transformers model of the same weights that nothing of ours has touched."""
    hf: Any = model.hf
    other = type(hf)(hf.config).eval().requires_grad_(False)
    other.load_state_dict(hf.state_dict())
    other.generation_config = hf.generation_config
    return other
