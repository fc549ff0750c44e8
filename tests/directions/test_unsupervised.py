"""Directions without labels, against the full Jacobian of a tiny model and a naive transcription of MELBO."""

from __future__ import annotations

import pytest
import torch
from reference import unsupervised as naive

import steering as t
from steering.directions.unsupervised import exponential_dct, jacobian_directions, linear_range, melbo
from steering.directions.unsupervised import response as responses
from steering.directions.unsupervised.linear_range import nonlinear_share
from steering.directions.unsupervised.melbo import objective
from steering.directions.unsupervised.response import Response
from steering.directions.unsupervised.transcoding import factor_weights
from steering.models.model import Model

PROMPTS = ["The cat sat on the mat.", "Is 7 plus 5 equal to 13?"]
SOURCE = t.Site(0, "resid_post")


@pytest.fixture(scope="module")
def full(lm: Model) -> torch.Tensor:
    return naive.jacobian(lm, [lm.tokens(p) for p in PROMPTS], 0, lm.n_layers - 1)


def last_site(lm: Model) -> t.Site:
    return t.Site(lm.n_layers - 1, "resid_post")


def test_products_are_those_of_the_full_jacobian(lm, full):
    response = Response(lm, PROMPTS, SOURCE, last_site(lm))
    v, u = torch.randn(3, lm.d_model), torch.randn(3, len(full))
    assert torch.allclose(response.jvp(v), v @ full.T, atol=1e-4 * full.norm())
    assert torch.allclose(response.vjp(u), u @ full, atol=1e-4 * full.norm())
    differences = response.jvp(v, exact=False)
    assert torch.nn.functional.cosine_similarity(differences, v @ full.T).min() > 0.9999


def test_products_of_the_same_prompts_run_the_model_once(tiny_llama, monkeypatch):
    passes, forward = [], tiny_llama.forward
    monkeypatch.setattr(tiny_llama, "forward", lambda *args, **more: passes.append(1) or forward(*args, **more))
    response = Response(tiny_llama, PROMPTS, SOURCE, last_site(tiny_llama))
    first = response.jvp(torch.eye(tiny_llama.d_model)[:3])
    for _ in range(3):
        assert torch.equal(response.jvp(torch.eye(tiny_llama.d_model)[:3]), first)
        response.vjp(first)
    assert len(passes) == len(PROMPTS)


def test_many_vectors_in_pieces_are_the_same(tiny_llama, monkeypatch):
    response = Response(tiny_llama, PROMPTS, SOURCE, last_site(tiny_llama))
    v = torch.randn(5, tiny_llama.d_model)
    u = response.jvp(v)
    whole = response.vjp(u)
    monkeypatch.setattr(responses, "MOST_TOKENS", 20)
    torch.testing.assert_close(response.jvp(v), u)
    torch.testing.assert_close(response.vjp(u), whole)


def test_a_model_that_cannot_be_differentiated_twice_takes_differences(tiny_llama, monkeypatch):
    def refused(*_, **__):
        raise NotImplementedError("no second derivative")

    plain = Response(tiny_llama, PROMPTS, SOURCE, last_site(tiny_llama))
    v = torch.randn(3, tiny_llama.d_model)
    u, back = plain.jvp(v), plain.vjp(plain.jvp(v))
    monkeypatch.setattr(responses, "_Linearized", refused)
    response = Response(tiny_llama, PROMPTS, SOURCE, last_site(tiny_llama))
    assert torch.nn.functional.cosine_similarity(response.jvp(v), u).min() > 0.9999
    torch.testing.assert_close(response.vjp(u), back, rtol=1e-4, atol=1e-3)
    with pytest.raises(NotImplementedError, match="cannot be differentiated twice"):
        response.jvp(v, exact=True)


def test_singular_values_and_subspaces_are_those_of_the_full_svd(lm, full):
    s = torch.linalg.svdvals(full.double())
    found = jacobian_directions(lm, PROMPTS, SOURCE, last_site(lm), k=4, iterations=60, tolerance=1e-5)
    assert torch.allclose(found.values.double(), s[:4], rtol=1e-4)
    assert (found.values.double() - s[:4]).abs().max() <= (found.errors * found.values).max() + 1e-4 * s[0]
    rows = torch.stack([v.vector for v in found]).double()
    assert torch.allclose(rows @ rows.T, torch.eye(4, dtype=torch.float64), atol=1e-5)
    captured = (full.double() @ rows.T).norm(dim=0)
    assert torch.allclose(captured, s[:4], rtol=1e-4)
    assert found[0].provenance["method"] == "jacobian" and found[0].site == SOURCE
    assert "singular values" in repr(found)


def test_the_mean_over_tokens_and_the_last_tokens(tiny_llama, model):
    lm = tiny_llama
    whole = naive.jacobian(lm, [lm.tokens(PROMPTS[0])], 0, lm.n_layers - 1).reshape(-1, lm.d_model, lm.d_model)
    mean = Response(lm, PROMPTS[:1], SOURCE, last_site(lm), last=3, reduce="mean")
    v = torch.randn(2, lm.d_model)
    expected = v @ whole[-3:].mean(0).T
    assert torch.allclose(mean.jvp(v), expected, atol=1e-4)
    u = torch.randn(2, lm.d_model)
    assert torch.allclose(mean.vjp(u), u @ whole[-3:].mean(0), atol=1e-4)


def test_one_logit_difference_has_the_gradient_as_its_only_vector(tiny_llama):
    lm, ids = tiny_llama, tiny_llama.tokens(PROMPTS[0])
    found = jacobian_directions(lm, PROMPTS[:1], SOURCE, (5, 9), k=4, last=1)
    assert len(found) == 1
    theta = torch.zeros(lm.d_model, requires_grad=True)
    skip = 1 if ids[0] == lm.tokenizer.bos_token_id else 0

    def add(module, args, output):
        h = output if isinstance(output, torch.Tensor) else output[0]
        return torch.cat([h[:, :skip], h[:, skip:] + theta], dim=1)

    handle = lm.blocks[0].register_forward_hook(add)
    logits = lm.hf(torch.tensor([ids])).logits[0, -1]
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[5] - logits[9], theta)
    assert float(found.values[0]) == pytest.approx(float(gradient.norm()), rel=1e-3)
    cosine = torch.nn.functional.cosine_similarity(found[0].vector, gradient, dim=0)
    assert abs(float(cosine)) == pytest.approx(1, abs=1e-4)


def test_a_search_inside_a_subspace_stays_in_it(tiny_llama):
    lm = tiny_llama
    basis = torch.linalg.qr(torch.randn(lm.d_model, 5))[0].T
    found = jacobian_directions(lm, PROMPTS[:1], SOURCE, last_site(lm), k=3, within=basis)
    for v in (*found, *melbo(lm, PROMPTS[:1], SOURCE, last_site(lm), n=3, norm=0.5, steps=5, within=basis)):
        inside = (v.vector @ basis.T) @ basis
        assert torch.allclose(inside, v.vector, atol=1e-5)
    whole = jacobian_directions(lm, PROMPTS[:1], SOURCE, last_site(lm), k=3)
    assert float(found.values[0]) <= float(whole.values[0]) + 1e-4


@pytest.mark.parametrize(("p", "q"), [(2.0, 2.0), (2.0, 1.0), (4.0, 4.0)])
def test_melbos_objective_is_the_formula(lm, p, q):
    theta = torch.randn(2, lm.d_model)
    response = Response(lm, PROMPTS, SOURCE, last_site(lm))
    moved, plain = response.by_token(theta), response.by_token(torch.zeros(1, lm.d_model))
    ids = [lm.tokens(prompt) for prompt in PROMPTS]
    for row in range(2):
        expected = naive.melbo_objective(
            [naive.target_states(lm, one, 0, lm.n_layers - 1, theta[row]) for one in ids],
            [naive.target_states(lm, one, 0, lm.n_layers - 1, torch.zeros(lm.d_model)) for one in ids],
            p, q,
        )  # fmt: skip
        assert float(objective(moved, plain, p, q)[row]) == pytest.approx(expected, rel=1e-3)


def test_melbo_climbs_on_a_sphere_and_its_vectors_are_orthogonal(lm):
    found = melbo(lm, PROMPTS, SOURCE, last_site(lm), n=4, norm=2.0, steps=20)
    rows = torch.stack([v.vector for v in found]).double()
    assert torch.allclose(rows @ rows.T, 4.0 * torch.eye(4, dtype=torch.float64), atol=1e-4)
    assert bool((found.objective >= found.start).all()) and float(found.objective[0]) > 1.01 * float(found.start[0])
    nothing = objective(*[Response(lm, PROMPTS, SOURCE, last_site(lm)).by_token(torch.zeros(1, lm.d_model))] * 2, 2, 2)
    assert float(nothing[0]) == pytest.approx(0, abs=1e-6)


def test_a_short_vector_of_melbo_is_the_first_singular_vector(tiny_llama):
    """With p = q = 2 and in the linear range the objective is |J theta| of the token-stacked Jacobian."""
    lm = tiny_llama
    first = jacobian_directions(lm, PROMPTS[:1], SOURCE, last_site(lm), k=1)
    response = Response(lm, PROMPTS[:1], SOURCE, last_site(lm))
    short = 1e-3 * response.scale
    found = melbo(lm, PROMPTS[:1], SOURCE, last_site(lm), n=1, norm=short, steps=300, rate=0.2)
    cosine = torch.nn.functional.cosine_similarity(found[0].vector, first[0].vector, dim=0)
    assert abs(float(cosine)) > 0.99
    assert float(found.objective[0]) == pytest.approx(short * float(first.values[0]), rel=0.02)


def test_rows_of_one_pass_are_what_they_are_alone(lm):
    theta = torch.randn(5, lm.d_model)
    response = Response(lm, PROMPTS, SOURCE, last_site(lm))
    alone = torch.cat([response(row[None]) for row in theta])
    assert torch.allclose(response(theta), alone, atol=1e-4)
    assert torch.equal(response(torch.zeros(1, lm.d_model)), torch.zeros(1, response.d_out))


def test_many_rows_are_done_in_passes_of_bounded_size(tiny_llama, monkeypatch):
    lm = tiny_llama
    response = Response(lm, PROMPTS, SOURCE, last_site(lm))
    v, u = torch.randn(5, lm.d_model), torch.randn(5, response.d_out)
    whole = response(v), response.jvp(v), response.vjp(u)
    monkeypatch.setattr("steering.directions.unsupervised.response.MOST_TOKENS", 20)
    for a, b in zip(whole, (response(v), response.jvp(v), response.vjp(u)), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_the_linear_range_by_hand_and_on_a_model(tiny_llama):
    assert nonlinear_share(torch.tensor([[3.0, 0.0]]), torch.tensor([[2.0, 0.0]])) == pytest.approx(0.5)
    both = nonlinear_share(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    assert both == pytest.approx(0.125**0.5)
    lm = tiny_llama
    found = linear_range(lm, None, PROMPTS[:1], last_site(lm), source=SOURCE, count=8)
    response = Response(lm, PROMPTS[:1], SOURCE, last_site(lm), 3, "mean")
    assert found.norm > 0
    if found.norm < 100 * response.scale:
        below = [d for length, d in zip(found.lengths, found.deviations, strict=True) if length < found.norm]
        assert below and max(below) < 0.5
    v = t.Direction(torch.randn(lm.d_model), SOURCE)
    assert linear_range(lm, v, PROMPTS[:1], last_site(lm)).norm > 0


def test_the_factors_weights_by_hand():
    # One factor: (1 * (e - 1)) alpha = 3, so alpha = 3 / (e - 1).
    one = factor_weights(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[3.0, 5.0]]))
    assert float(one[0]) == pytest.approx(3 / (torch.e - 1))


def test_an_iteration_of_transcoding_is_the_formula(tiny_llama):
    lm, n, norm = tiny_llama, 3, 1.5
    found = exponential_dct(lm, PROMPTS, SOURCE, last_site(lm), n=n, norm=norm, iterations=1, last=2)
    start = responses.random_units(n, lm.d_model, 0)
    u, v, alpha = naive.transcoded_once(lm, [lm.tokens(p) for p in PROMPTS], 0, lm.n_layers - 1, start, norm, 2)
    order = alpha.abs().argsort(descending=True)
    torch.testing.assert_close(torch.stack([one.vector for one in found]), v[order], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.outputs, u[order], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.weights, alpha[order], atol=1e-3, rtol=1e-2)


def test_transcoding_ranks_its_factors(tiny_llama):
    lm = tiny_llama
    found = exponential_dct(lm, PROMPTS, SOURCE, last_site(lm), n=6, norm=1.0)
    assert len(found) == 6 and bool((found.weights.abs().diff() <= 1e-6).all())
    assert all(v.norm == pytest.approx(1, abs=1e-4) for v in found)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prompts": []}, "at least one"),
        ({"prompts": "a text"}, "list of prompts"),
        ({"target": t.Site(0, "resid_pre")}, "after the source"),
        ({"source": t.Site(0, "resid_mid")}, "resid_mid"),
        ({"last": 0}, "at least one"),
        ({"target": t.Site(99, "resid_post")}, "layer 99"),
    ],
)
def test_what_cannot_be_asked_is_refused(tiny_llama, change, says):
    asked = {"prompts": PROMPTS, "source": SOURCE, "target": last_site(tiny_llama), **change}
    last = asked.pop("last", None)
    with pytest.raises(ValueError, match=says):
        jacobian_directions(tiny_llama, asked["prompts"], asked["source"], asked["target"], last=last)


def test_numbers_that_mean_nothing_are_refused(tiny_llama):
    lm = tiny_llama
    with pytest.raises(ValueError, match="above 0"):
        melbo(lm, PROMPTS, SOURCE, last_site(lm), norm=0.0)
    with pytest.raises(ValueError, match="orthogonal"):
        melbo(lm, PROMPTS, SOURCE, last_site(lm), norm=1.0, n=lm.d_model + 1)
    with pytest.raises(ValueError, match="singular vector"):
        jacobian_directions(lm, PROMPTS, SOURCE, last_site(lm), k=0)


def test_it_can_be_cancelled_and_leaves_the_model_as_it_was(tiny_llama):
    lm = tiny_llama

    def stop(done: int, total: int, note: str) -> None:
        raise KeyboardInterrupt

    def hooks() -> list[int]:
        return [len(block._forward_hooks) + len(block._forward_pre_hooks) for block in lm.blocks]

    before = hooks()
    with pytest.raises(KeyboardInterrupt):
        melbo(lm, PROMPTS, SOURCE, last_site(lm), norm=1.0, n=2, tick=stop)
    assert hooks() == before
