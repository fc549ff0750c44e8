"""Manifolds, leaks, erasure and reading directions: laws, examples by hand, and plain transcriptions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import geometry as naive

import steering as t
from steering.directions.geometry import (
    leace,
    leakage,
    manifold,
    oblique,
    on_manifold,
    prediction_dimensions,
    reading_directions,
)
from steering.directions.geometry.leakage import moved_projections
from steering.directions.geometry.manifold import spanned
from steering.directions.geometry.reading import participation, read_through

TEXTS = ["The cat sat on the mat and looked at the moon.", "Is 7 plus 5 equal to 13? I think that you are right."]
SITE = t.Site(1, "resid_post")


# On-manifold ------------------------------------------------------------------------------------------------------


def test_the_span_by_hand_and_as_eigenvectors():
    by_hand = spanned(torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), SITE, energy=0.9)
    assert len(by_hand.basis) == 1 and by_hand.energy == pytest.approx(0.9)
    assert by_hand.basis.abs().tolist() == [[1.0, 0.0]]
    x = torch.randn(40, 8) * torch.linspace(3, 0.1, 8)
    found, expected = spanned(x, SITE, energy=0.9), naive.basis(x.double().numpy(), 0.9)
    assert found.basis.shape == expected.shape
    overlap = np.abs(found.basis.double().numpy() @ expected.T)
    assert np.allclose(overlap, np.eye(len(expected)), atol=1e-4)


def test_projecting_twice_is_projecting_once_and_the_whole_span_changes_nothing():
    x = torch.randn(5, 12)
    part, whole = spanned(x, SITE, k=3), spanned(x, SITE, energy=1.0)
    v = torch.randn(4, 12)
    assert torch.allclose(part.project(part.project(v)), part.project(v), atol=1e-6)
    assert torch.allclose(whole.project(x), x, atol=1e-5)  # rows of X lie in their span
    assert whole.share(x[0]) == pytest.approx(1, abs=1e-6)
    h = x[2] + whole.project(v[0])
    assert whole.share(h) == pytest.approx(1, abs=1e-6)  # h + P delta stays in the span


def test_a_massive_token_does_not_make_the_span():
    x = torch.randn(30, 6)
    x[0] = torch.tensor([1e5, 0, 0, 0, 0, 0])
    found = spanned(x, SITE, energy=0.9)
    assert found.left_out == 1 and len(found.basis) > 2


def test_a_direction_on_the_manifold_of_texts(tiny_llama):
    v = t.Direction(torch.randn(tiny_llama.d_model), SITE, name="v")
    found = on_manifold(v, tiny_llama, TEXTS, energy=0.8)
    span = manifold(tiny_llama, TEXTS, SITE, energy=0.8)
    assert found.share == pytest.approx(span.share(v.vector)) and 0 < found.share < 1
    assert found.direction.norm == pytest.approx(v.norm, rel=1e-5)
    assert span.share(found.direction.vector) == pytest.approx(1, abs=1e-6)
    again = on_manifold(found.direction, tiny_llama, TEXTS, energy=0.8)
    assert torch.allclose(again.direction.vector, found.direction.vector, atol=1e-5)


def test_spans_that_mean_nothing_are_refused(tiny_llama):
    with pytest.raises(ValueError, match="energy"):
        manifold(tiny_llama, TEXTS, SITE, energy=0.0)
    with pytest.raises(ValueError, match="list of texts"):
        manifold(tiny_llama, "one text", SITE)
    with pytest.raises(ValueError, match="all of these are 0"):
        spanned(torch.zeros(3, 4), SITE)
    inside = spanned(torch.tensor([[1.0, 0, 0]]), SITE, k=1)
    assert inside.share(torch.tensor([0.0, 1.0, 0.0])) == 0


# Leaks --------------------------------------------------------------------------------------------------------------


def test_an_ablation_writes_half_of_x_on_a_direction_of_which_there_was_nothing():
    """a = x b + y c and u = (b - d) / sqrt 2: a' = (x/2) b + y c + (x/2) d."""
    b, c, d = torch.eye(4)[:3].double()
    x, y = torch.tensor([2.0, -4.0, 1.0]).double(), torch.tensor([1.0, 1.0, 3.0]).double()
    a = x[:, None] * b + y[:, None] * c
    u = (b - d) / 2**0.5
    after = a - (a @ u)[:, None] * u
    assert torch.allclose(after, (x / 2)[:, None] * b + y[:, None] * c + (x / 2)[:, None] * d)
    leaks = {leak.name: leak for leak in moved_projections(a, after, {"b": b, "c": c, "d": d}, u)}
    assert leaks["d"].before == 0
    assert leaks["d"].after == pytest.approx(float((x / 2).square().mean().sqrt()))
    assert leaks["c"].moved == pytest.approx(0, abs=1e-12)
    assert leaks["d"].cosine == pytest.approx(-(0.5**0.5))


def test_the_leak_of_an_ablation_in_a_model(tiny_llama):
    v, w = (t.Direction(torch.randn(tiny_llama.d_model), SITE, name=name) for name in "vw")
    (leak,) = leakage(tiny_llama, v, [w], TEXTS)
    rows = [tiny_llama.activations([tiny_llama.tokens(text)], [SITE])[0][SITE][0][1:] for text in TEXTS]
    a = torch.cat(rows).double().numpy()
    u, along = (x.unit().vector.double().numpy() for x in (v, w))
    change = naive.ablated(a, u) @ along - a @ along
    assert leak.moved == pytest.approx(np.sqrt((change**2).mean()), rel=1e-5)
    assert leak.after == pytest.approx(np.sqrt(((naive.ablated(a, u) @ along) ** 2).mean()), rel=1e-5)


def test_the_leak_into_features(tiny_llama, tiny_sae):
    v = t.Direction(tiny_sae.rows[3].clone(), tiny_sae.site, name="v")
    found = leakage(tiny_llama, v, [], TEXTS, sae=tiny_sae)
    assert found and all(leak.name.startswith("feature ") and leak.moved > 0 for leak in found)


def test_the_oblique_projection_takes_one_out_and_leaves_the_others_alone():
    u, protected, a = torch.randn(16), torch.randn(3, 16), torch.randn(50, 16).double()
    erase = oblique(u, protected)
    after = erase(a)
    assert (after @ u.double()).abs().max() < 1e-4
    assert torch.allclose(after @ protected.double().T, a @ protected.double().T, atol=1e-4)
    assert torch.allclose(erase(after), after, atol=1e-4)
    with pytest.raises(ValueError, match="span"):
        oblique(protected[0], protected)


def test_leace_is_the_theorem_and_leaves_one_mean():
    torch.manual_seed(0)
    mix = torch.randn(6, 6)
    p, q = torch.randn(80, 6) @ mix + torch.tensor([1.0, 0, 2, 0, 0, 0]), torch.randn(60, 6) @ mix
    erase = leace(p, q, ridge=0.0)
    after = erase(torch.cat([p, q]))
    expected = naive.leace(*(x.double().numpy() for x in (p, q, torch.cat([p, q]))))
    assert np.allclose(after.numpy(), expected, atol=1e-4)
    assert (after[:80].mean(0) - after[80:].mean(0)).abs().max() < 1e-4
    # It moves activations less than taking the mean difference out.
    x = torch.cat([p, q]).double()
    u = (p.mean(0) - q.mean(0)).double()
    u = u / u.norm()
    plain = x - ((x - x.mean(0)) @ u)[:, None] * u
    still = (plain[:80].mean(0) - plain[80:].mean(0)).abs().max()
    assert still < 1e-4  # both erase the means ...
    covariance = torch.cov(x.T)
    inverse = torch.linalg.inv(covariance)
    cost = lambda after: float(((after - x) @ inverse * (after - x)).sum(-1).mean())  # noqa: E731
    assert cost(after) <= cost(plain) + 1e-6  # ... and LEACE moves least, in the metric of the data


def test_leaks_that_cannot_be_seen_are_refused(tiny_llama):
    v, w = t.Direction(torch.randn(tiny_llama.d_model), SITE), t.Direction(torch.randn(tiny_llama.d_model), t.Site(0))
    with pytest.raises(ValueError, match="got neither"):
        leakage(tiny_llama, v, [], TEXTS)
    with pytest.raises(ValueError, match="one site"):
        leakage(tiny_llama, v, [w], TEXTS)


# Reading ------------------------------------------------------------------------------------------------------------


def test_what_a_weight_reads_by_hand_and_plainly():
    vectors, values, occupied = read_through(torch.diag(torch.tensor([2.0, 1.0])), torch.tensor([[0.0], [1.0]]))
    assert vectors[:, 0].abs().tolist() == [0.0, 1.0] and values.tolist() == [1.0] and occupied.tolist() == [2.0, 1.0]
    x, w = torch.randn(30, 6), torch.randn(6, 4)
    vectors, values, _ = read_through(x, w)
    expected, its_values = naive.read_directions(x.double().numpy(), w.double().numpy())
    assert np.allclose(values.numpy(), its_values) and np.allclose(vectors.abs().numpy(), np.abs(expected), atol=1e-8)
    assert participation(torch.tensor([1.0, 1.0, 1.0])) == pytest.approx(3)


def test_a_layer_of_two_heads_by_hand():
    """Head 0 reads the first channel, head 1 the second; 3 times as much variance lies on the first."""
    x = torch.diag(torch.tensor([3.0, 1.0]))
    for head, weight in enumerate((torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]]))):
        vectors, values, _ = read_through(x, weight)
        assert vectors[:, 0].abs().tolist() == [1.0 - head, float(head)] and float(values[0]) == (3.0, 1.0)[head]
    vectors, values, _ = read_through(x, torch.eye(2))
    assert values.tolist() == [3.0, 1.0]


def test_what_a_layer_reads(lm):
    found = {one.part: one for one in reading_directions(lm, t.Site(0, "resid_post"), TEXTS, k=3)}
    assert {"q", "k", "v", "q.0", "v.0"} <= set(found)
    assert found["q"].directions[0].site == t.Site(1, "resid_pre")
    for one in found.values():
        assert bool((one.values.diff() <= 1e-5).all()) and one.occupied >= 1 and one.read >= 1
        assert one.directions[0].norm == pytest.approx(1, abs=1e-4)
    if not lm.parallel:
        (mlp,) = reading_directions(lm, t.Site(1, "resid_mid"), TEXTS)
        assert mlp.part == "mlp"
    with pytest.raises(ValueError, match="resid_pre"):
        reading_directions(lm, t.Site(1, "attn_out"), TEXTS)


def test_the_queries_see_what_the_reading_directions_say(tiny_llama):
    """The value of a whole layer's first query direction is how far the queries spread along it."""
    lm = tiny_llama
    block = lm.blocks[1]
    q = next(one for one in reading_directions(lm, t.Site(1, "resid_pre"), TEXTS, k=2, heads=False) if one.part == "q")
    queries, handle = [], None
    handle = block.self_attn.q_proj.register_forward_hook(lambda m, a, out: queries.append(out[0, 1:]))
    try:
        for text in TEXTS:
            lm.forward(torch.tensor([lm.tokens(text)]))
    finally:
        handle.remove()
    spread = torch.linalg.svdvals(torch.cat(queries).double())
    bias = getattr(block.self_attn.q_proj, "bias", None)
    if bias is None:
        assert float(q.values[0]) == pytest.approx(float(spread[0]), rel=1e-3)


def test_dimensions_that_matter_for_the_prediction(lm):
    found = prediction_dimensions(lm, TEXTS, draws=3, positions=2)
    assert len(found.layers) == lm.n_layers and found.samples == 12 and found.stream == lm.d_model
    assert all(1 <= one <= min(12, lm.d_model) for one in (*found.effective, *found.held))
    again = prediction_dimensions(lm, TEXTS, draws=3, positions=2)
    assert again.effective == found.effective
