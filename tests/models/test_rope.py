"""Rotary positions that follow the length: a row in a batch equals the row alone, and cached equals uncached."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from steered_rows import PROMPTS, direction
from tiny_models import config, tokenizer
from transformers import AutoModelForCausalLM

from steering.engine.engine import Engine
from steering.engine.requests import Request
from steering.interventions import ActivationAddition
from steering.models.loading import load_model
from steering.models.model import Model
from steering.models.rope import by_rows, turning_point

BORDER = 20
KINDS = {
    "longrope": {
        "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0],
        "original_max_position_embeddings": BORDER, "partial_rotary_factor": 1.0,
    },
    "dynamic": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
}  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def growing(request, tmp_path_factory) -> Model:
    """A tiny model whose rotary frequencies change above 20 tokens."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    words = tokenizer("phi3")
    plain = config("phi3" if request.param == "longrope" else "llama", 304)
    plain.rope_parameters = KINDS[request.param]
    plain.original_max_position_embeddings = BORDER
    if request.param == "dynamic":
        plain.max_position_embeddings = BORDER
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        hf = AutoModelForCausalLM.from_config(plain, dtype=torch.float32)
        with torch.no_grad():
            for parameter in hf.parameters():
                if parameter.ndim > 1:
                    parameter.copy_(torch.randn_like(parameter) * 0.3)
    hf.save_pretrained(folder)
    words.save_pretrained(folder)
    model = load_model(folder, device="cpu", threads=1)
    if request.param == "dynamic":
        model.n_ctx = 64  # as many people run it: beyond what it was trained for
    return model


def lengths(lm: Model) -> list[list[int]]:
    return [[*range(3, 3 + n)] for n in (5, 40, 12, 30, BORDER, BORDER + 1)]


def test_a_row_in_a_batch_is_the_row_alone(growing: Model) -> None:
    rows = lengths(growing)
    tokens, mask, positions = growing.pad(rows)
    together = growing.forward(tokens, attention_mask=mask.long(), positions=positions, keep=1)[:, -1]
    for row, logits in zip(rows, together, strict=True):
        alone = growing.forward(torch.tensor([row]), keep=1)[0, -1]
        assert torch.allclose(logits, alone, atol=1e-4), len(row)


def test_a_short_row_after_a_long_one_is_what_it_was_before(growing: Model) -> None:
    """Dynamic NTK keeps the longest row so far; so did a shorter long row after a longer one."""
    short, long, longer = (torch.tensor([[*range(3, 3 + n)]]) for n in (8, 30, 50))
    before = [growing.forward(row, keep=1) for row in (short, long)]
    growing.forward(longer, keep=1)
    after = [growing.forward(row, keep=1) for row in (short, long)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_long_rows_are_computed_as_transformers_computes_them(growing: Model) -> None:
    """By a copy of the family's own class, as it comes, on rows alone; the two kinds of row do differ."""
    for n in (8, 40):
        own = AutoModelForCausalLM.from_pretrained(growing.name, dtype=torch.float32).eval()
        row = torch.tensor([[*range(3, 3 + n)]])
        with torch.no_grad():
            assert torch.allclose(own(row).logits[:, -1:], growing.forward(row, keep=1), atol=1e-4)


def test_texts_that_cross_the_border_are_the_same_however_they_are_decoded(growing: Model) -> None:
    """Beside shorter and longer ones, with a cache and without, steered or not."""
    steered = (ActivationAddition(direction(), alpha=6.0),)
    options = {"max_new_tokens": 24, "ignore_eos": True, "record": [direction()]}
    prompts = [PROMPTS[0], PROMPTS[1], PROMPTS[2]]
    with Engine(growing, remember=0) as engine:
        asked = [Request(p, v, **options) for p in prompts for v in ((), steered)]
        together = [handle.result(60) for handle in engine.submit_all(asked)]
        for request, one in zip(asked, together, strict=True):
            for cached in (True, False):
                (alone,) = engine.generate(request.prompt, [request.interventions], cached=cached, **options)
                assert alone.tokens == one.tokens and alone.logprobs == pytest.approx(one.logprobs, abs=1e-3)
                assert [r.positions for r in alone.receipts] == [r.positions for r in one.receipts]
                assert all(r.agrees for r in alone.receipts)
        assert any(len(one.prompt_tokens) <= BORDER < len(one.prompt_tokens) + len(one.tokens) for one in together)
        assert engine.check(together[0]).agrees


def test_only_families_whose_positions_follow_the_length_are_touched(growing: Model, tiny_llama: Model) -> None:
    assert turning_point(tiny_llama.hf) is None
    before = type(tiny_llama.hf.model.rotary_emb)  # type: ignore[union-attr]
    by_rows(tiny_llama.hf)
    assert type(tiny_llama.hf.model.rotary_emb) is before  # type: ignore[union-attr]
    assert turning_point(growing.hf) is not None and turning_point(growing.hf)[0] == BORDER  # type: ignore[index]
    twin = copy.deepcopy(growing.hf)
    row = torch.tensor([[*range(3, 33)]])
    with torch.no_grad():
        assert torch.equal(twin(row).logits, growing.hf(row).logits)  # type: ignore[operator]
