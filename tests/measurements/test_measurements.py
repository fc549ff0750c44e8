"""Measurements: by hand, by their definitions, and on models the same for a batch as alone."""

import math
from collections.abc import Callable

import pytest
import tiny_models as tiny
import torch
from reference import measures as reference

from steering.directions.direction import Direction
from steering.measurements.numbers import (
    cosine_similarity,
    distinct_n,
    kl_divergence,
    typical_norm,
    typical_norms,
)
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site

SITE = Site(1)


def vector(seed: int, width: int = tiny.D_MODEL) -> torch.Tensor:
    return torch.randn(width, generator=torch.Generator().manual_seed(seed))


# Activations --------------------------------------------------------------------------------------------------------


def test_cosines(sae_of: Callable[..., Sae]) -> None:
    sae = sae_of("standard")
    a, b = Direction(vector(0), SITE), Direction(vector(1), Site(3))
    f = Direction(vector(2, tiny.D_SAE), sae.site, sae)
    table = cosine_similarity([a, b, -2 * a, f])
    assert torch.equal(table, table.T)
    torch.testing.assert_close(table.diagonal(), torch.ones(4))
    assert float(table[0, 2]) == -1.0
    torch.testing.assert_close(table[0, 3], torch.cosine_similarity(a.vector, f.decoded(), dim=0))
    # (1, 0) and (1, 1): 1 / sqrt 2
    x, y = (Direction(torch.tensor(v), SITE) for v in ([1.0, 0.0], [1.0, 1.0]))
    assert float(cosine_similarity([x, y])[0, 1]) == pytest.approx(0.5**0.5)
    for wrong in ([], [a, x]):
        with pytest.raises(ValueError, match="of one width"):
            cosine_similarity(wrong)


@torch.no_grad()
def test_the_typical_norm_is_the_median_without_first_tokens(lm: Model) -> None:
    texts = ["The cat sat on the mat.", "I love you and I hate you", "Is 7 plus 5 equal to 13?"]
    texts.append(" The cat looked" * 100)  # longer than the model reads
    norms = []
    for text in texts:
        ids = lm.tokenizer.encode(text)[: lm.n_ctx - 1]
        hidden = lm.hf(torch.tensor([ids]), output_hidden_states=True).hidden_states[SITE.layer + 1]
        norms += hidden[0, 1:].norm(dim=-1).tolist()
    assert typical_norm(lm, SITE, texts) == pytest.approx(sorted(norms)[(len(norms) - 1) // 2], rel=1e-4)
    with pytest.raises(ValueError, match="at least two tokens"):
        typical_norm(lm, SITE, [])


def test_typical_norms_of_all_sites_are_those_of_each_in_one_pass(lm: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["The cat sat on the mat.", "I love you and I hate you"]
    passes, forward = [], lm.forward
    monkeypatch.setattr(lm, "forward", lambda *args, **more: passes.append(1) or forward(*args, **more))
    found, done = typical_norms(lm, texts=texts, progress=(shares := []).append), len(passes)
    assert done == 1 and shares == [0.0]
    assert set(found) == {Site(layer, stream) for layer in range(lm.n_layers) for stream in lm.streams}
    for site in (Site(0, "resid_pre"), Site(1, "attn_out"), Site(2, "mlp_out"), Site(3)):
        assert found[site] == typical_norm(lm, site, texts)
    assert found[Site(0)] == found[Site(1, "resid_pre")]


# Predictions --------------------------------------------------------------------------------------------------------


def test_kl_by_hand() -> None:
    """p = (1/2, 1/2), q = (1/4, 3/4): ln 2 / 2 + ln(2/3) / 2 = ln(4/3) / 2 = 0.1438."""
    p, q = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()
    assert float(kl_divergence(p, q)) == pytest.approx(math.log(4 / 3) / 2, rel=1e-5)
    assert float(kl_divergence(p, q)) != pytest.approx(float(kl_divergence(q, p)), rel=1e-2)


def test_kl_is_its_definition() -> None:
    logits = torch.stack([vector(i, 50) for i in range(8)]).reshape(2, 4, 50)
    p, q = logits[0], logits[1]
    expected = [
        reference.kl(a.softmax(-1).tolist(), b.softmax(-1).tolist())
        for a, b in zip(p.double(), q.double(), strict=True)
    ]
    torch.testing.assert_close(kl_divergence(p, q), torch.tensor(expected))
    assert torch.equal(kl_divergence(p, p), torch.zeros(4))
    torch.testing.assert_close(kl_divergence(p + 7.0, q - 3.0), kl_divergence(p, q))  # logits have no zero
    many = torch.randn(200, 50, generator=torch.Generator().manual_seed(1))
    assert (kl_divergence(many, many + 0.1) >= 0).all()  # rounding of what is equal would make some negative


def test_kl_of_a_token_that_is_ruled_out() -> None:
    inf = float("inf")
    p, q = torch.tensor([0.0, -inf]), torch.tensor([0.0, 0.0])
    assert float(kl_divergence(p, q)) == pytest.approx(math.log(2))
    assert float(kl_divergence(q, p)) == inf
    assert float(kl_divergence(p, p)) == 0.0


# Texts --------------------------------------------------------------------------------------------------------------


def test_distinct_n_by_hand() -> None:
    """a b a b: bigrams ab, ba, ab, two of three differ; unigrams a and b, two of four."""
    assert distinct_n("abab", 2) == distinct_n("abab") == pytest.approx(2 / 3)
    assert distinct_n("abab", 1) == 0.5
    assert distinct_n([1, 2, 3, 4]) == 1.0
    assert math.isnan(distinct_n("a", 2))
    with pytest.raises(ValueError, match="at least one token; got n = 0"):
        distinct_n("ab", 0)
