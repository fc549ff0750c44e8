"""What bfloat16 products change is measured against the same weights in float32, by hand and with nothing changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from steering.measurements.known import Known
from steering.measurements.rounding import rounding
from steering.models import packing
from steering.models.model import Model

TEXTS = ["The cat sat on the mat and looked at the moon.", "I love you and I hate you."]


@pytest.fixture
def rounded(model: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setattr(packing, "smallest_matrix", lambda: 1)
    lm = model("llama")
    return Model(lm.name, copy.deepcopy(lm.hf), lm.tokenizer, products="bfloat16")


@pytest.mark.skipif(not packing.bfloat16_is_native(), reason="this processor has no bfloat16")
def test_it_is_the_mean_divergence_of_the_two_models(rounded: Model, tmp_path: Path) -> None:
    found = rounding(rounded, TEXTS)
    exact, terms, hits = Model("exact", rounded.hf, rounded.tokenizer), [], []
    for text in TEXTS:
        tokens = torch.tensor([rounded.encode(text)])
        with torch.inference_mode():
            p, q = (lm.forward(tokens)[0].double().log_softmax(-1) for lm in (exact, rounded))
        terms.append((p.exp() * (p - q)).sum(-1))
        hits.append((p.argmax(-1) == q.argmax(-1)).double())
    assert found.kl == pytest.approx(float(torch.cat(terms).mean()), rel=1e-3) and 0 < found.kl < 0.05
    assert found.same == pytest.approx(float(torch.cat(hits).mean())) and found.tokens == len(torch.cat(terms))
    kept = Known(rounded, tmp_path)
    assert kept.rounding(measured=False) is None
    assert kept.rounding() == Known(rounded, tmp_path).rounding(measured=False) != None  # noqa: E711
    assert Known(exact, tmp_path).rounding() is None and "nats a token" in str(found)


def test_float32_products_change_nothing(model: Callable[[str], Model]) -> None:
    lm = model("llama")
    found = rounding(Model("same", copy.deepcopy(lm.hf), lm.tokenizer), TEXTS)
    assert found.kl == pytest.approx(0, abs=1e-6) and found.same == 1
