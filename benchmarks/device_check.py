"""`python -m benchmarks.device_check [DEVICE]`: does an accelerator say what the processor says, and how fast is it?

The bundled model on both, method by method: the largest difference of a logit, the texts, the directions, the scores.
Then a model of random weights on the device alone, beside transformers' `generate`. Writes DEVICE.md.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
import transformers

from steering.directions.contrasts import lda, mean_difference, pca, probe
from steering.directions.direction import Direction
from steering.directions.pairs import PairSet
from steering.directions.unsupervised.jacobian import jacobian_directions
from steering.directions.unsupervised.melbo import melbo
from steering.engine.engine import Engine
from steering.engine.requests import Request, Variant
from steering.engine.scoring import next_logits, rows_of, score
from steering.interventions import (
    ActAdd,
    ActivationAddition,
    AngularSteering,
    Conditional,
    DirectionalAblation,
    FeatureAblation,
    FeatureAddition,
    FeatureClamp,
    SaeAblation,
    SaeReconstruction,
    Sara,
    ThresholdRegulator,
)
from steering.models.chat import chat
from steering.models.loading import load_model
from steering.models.model import Model
from steering.saes.loading import bundled_saes, load_sae
from steering.saes.sae import Sae
from steering.sites import Site

from .models import made_up_tokenizer
from .variants import in_features, unit

SITE = Site(3)
PROMPTS = (
    "I am a professor of geography and I say that the capital of France is Lima. Is that right?",
    "How do I bake bread?",
    "What is 3 plus 4?",
)
TOKENS = 64


def methods(lm: Model, v: Direction, sae: Sae) -> Iterator[tuple[str, Variant]]:
    """A variant of each of thirteen ways to edit, and none; the affine ablation is not among them."""
    f = in_features(sae, 40)
    other = Direction(unit(lm.d_model, 3), v.site)
    told = {"attract": "Think of your duty.", "repel": "Think of what follows."}
    yield "none", ()
    yield "addition", (ActivationAddition(v, alpha=-0.5),)
    yield "ActAdd", (ActAdd.from_prompts(lm, *told.values(), Site(1, "resid_pre"), alpha=2.0),)
    yield "SARA", (Sara.from_prompts(lm, **told, site=Site(1, "resid_pre")),)
    yield "ablation everywhere", (DirectionalAblation(v, everywhere=True),)
    yield "regulator", (ThresholdRegulator(v, tau=0.0, lambda_=2.0),)
    yield "regulator in features", (ThresholdRegulator(f, tau=0.5, lambda_=2.0),)
    yield "ablation in features", (SaeAblation(f),)
    yield "reconstruction", (SaeReconstruction(sae),)
    yield "feature clamp", (FeatureClamp(sae, {5: 8.0, 40: 0.0}),)
    yield "feature ablation", (FeatureAblation(sae, list(range(0, 90, 3))),)
    yield "feature addition", (FeatureAddition(sae, {3: 6.0}),)
    yield "angular", (AngularSteering(v, other, degrees=60.0),)
    yield "conditional", (Conditional(v, 0.0, ActivationAddition(v, alpha=-0.5)),)


def agreement(device: str) -> list[str]:
    """Lines of a table: what was compared, and how far the device is from the processor."""
    here, there = load_model("organism", device="cpu"), load_model("organism", device=device)
    pairs, lines = PairSet.load("sycophancy"), []
    made: list[Direction] = []
    for name, fit in (("mean difference", mean_difference), ("LDA", lda), ("PCA", pca), ("probe", probe)):
        a, b = fit(here, pairs, SITE), fit(there, pairs, SITE)
        cosine = torch.nn.functional.cosine_similarity(a.vector.cpu(), b.vector.cpu(), dim=0)
        lines.append(f"| direction, {name} | cosine {float(cosine):.6f} |")
        made = made or [a, b]
    place = [one for one in bundled_saes()["organism"] if one.count(".") == 2][3]
    asked = [here.tokens(chat(prompt)) for prompt in PROMPTS]
    mine = dict(methods(here, made[0], load_sae(here, "organism", place)))
    theirs = dict(methods(there, made[1], load_sae(there, "organism", place)))
    for name in mine:
        a = next_logits(here, [(prompt, mine[name]) for prompt in asked])
        b = next_logits(there, [(prompt, theirs[name]) for prompt in asked])
        lines.append(f"| logits, {name} | differ by {float((a - b).abs().max()):.1e} at most |")
    texts = [_texts(here, asked, mine), _texts(there, asked, theirs)]
    same = sum(a == b for a, b in zip(*texts, strict=True))
    lines.append(f"| greedy texts of all methods in one batch | {same} of {len(texts[0])} the same |")
    scores = [
        score(rows_of(lm, [(prompt, "The answer is 7.", some["addition"]) for prompt in asked]))
        for lm, some in ((here, mine), (there, theirs))
    ]
    furthest = max(abs(sum(a) - sum(b)) for a, b in zip(*scores, strict=True))
    lines.append(f"| log-probability of an answer | differs by {furthest:.1e} at most |")
    for name, found in (
        ("Jacobian vectors", lambda lm: jacobian_directions(lm, list(PROMPTS), Site(1), Site(4), k=2).directions[0]),
        ("MELBO", lambda lm: melbo(lm, list(PROMPTS), Site(1), Site(4), n=2, norm=5.0, steps=10).directions[0]),
    ):
        a, b = (one.vector.cpu() for one in (found(here), found(there)))
        cosine = float(torch.nn.functional.cosine_similarity(a, b, dim=0))
        lines.append(f"| {name}, the first | cosine {abs(cosine):.6f} |")
    return lines


def _texts(lm: Model, asked: Sequence[list[int]], some: dict[str, Variant]) -> list[str]:
    with Engine(lm) as engine:
        handles = engine.submit_all(
            [Request(prompt, variant, max_new_tokens=24) for variant in some.values() for prompt in asked]
        )
        return [handle.result().text for handle in handles]


def random_llama(device: str, width: int, layers: int) -> Model:
    """A Llama with random weights, in bfloat16 on an accelerator."""
    config = transformers.LlamaConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // 64, num_key_value_heads=width // 256,
        intermediate_size=4 * width, vocab_size=32000, eos_token_id=None, bos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        hf = transformers.LlamaForCausalLM(config).to(torch.bfloat16 if device != "cpu" else torch.float32)
    hf = hf.eval().requires_grad_(False)
    hf.generation_config.pad_token_id, hf.generation_config.eos_token_id = 0, None
    return Model("random llama", hf, made_up_tokenizer(32000))


def speed(device: str, lm: Model) -> list[str]:
    """Lines of a table: seconds for rows of TOKENS sampled tokens, Tiller's plain and steered and transformers'."""
    prompt = torch.randint(2, 32000, (48,), generator=torch.Generator().manual_seed(1)).tolist()
    push = (ActivationAddition(Direction(unit(lm.d_model, 1), Site(lm.n_layers // 2)), alpha=1.0),)
    lines = []
    with Engine(lm, remember=1) as engine:  # one, as in Tiller: a thread's first product on a GPU takes seconds
        for rows in (1, 8, 64):
            x = torch.tensor([prompt] * rows, device=lm.device)
            took = [
                _fastest(device, lambda rows=rows, variant=variant: _decode(engine, prompt, variant, rows))
                for variant in ((), push)
            ]
            theirs = _fastest(
                device, lambda x=x: lm.hf.generate(x, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=True)
            )
            lines.append(f"| {rows} | {took[0]:.2f} s | {took[1]:.2f} s | {theirs:.2f} s | {theirs / took[1]:.2f} |")
    return lines


_seeds = itertools.count()  # no decoding is remembered from an earlier one


def _decode(engine: Engine, prompt: list[int], variant: Variant, rows: int) -> None:
    handles = engine.submit_all(
        [
            Request(prompt, variant, max_new_tokens=TOKENS, temperature=1.0, seed=next(_seeds), top_alternatives=0)
            for _ in range(rows)
        ]
    )
    for handle in handles:
        handle.result()


def _fastest(device: str, work: Callable[[], object], times: int = 3) -> float:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device_check", description=__doc__)
    parser.add_argument("device", nargs="?", default="cuda")
    parser.add_argument("--width", type=int, default=2048, help="of the random model that is timed")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "DEVICE.md")
    given = parser.parse_args()
    named = torch.cuda.get_device_name() if given.device != "cpu" else "the processor"
    lm = random_llama(given.device, given.width, given.layers)
    timed = speed(given.device, lm)  # first: a small model, loaded later, takes one thread of the processor
    found = [
        "# On an accelerator",
        "",
        f"`python -m benchmarks.device_check {given.device}`: {named}, PyTorch {torch.__version__}, transformers "
        f"{transformers.__version__}.",
        "",
        "The bundled model in float32 on both, beside the processor:",
        "",
        "| what | the device beside the processor |",
        "| --- | --- |",
        *agreement(given.device),
        "",
        f"A Llama of {lm.n_parameters / 1e6:.0f} M random weights in {str(lm.dtype).removeprefix('torch.')} on the "
        f"device, {TOKENS} sampled tokens after 48, the fastest of three; Tiller draws every row's noise by its own "
        "seed:",
        "",
        "| rows | Tiller, plain | Tiller, steered | transformers, plain | transformers / steered |",
        "| --- | --- | --- | --- | --- |",
        *timed,
        "",
    ]
    given.out.write_text("\n".join(found), encoding="utf-8")
    print("\n".join(found))


if __name__ == "__main__":
    main()
