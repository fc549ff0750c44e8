"""Directions: algebra as of vectors, a memory of where they belong, files that give the same back; the contrasts."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models as tiny
import torch
from reference import contrasts as reference
from safetensors.torch import save_file

from steering.directions import direction as directions
from steering.directions import estimators
from steering.directions.activations import of_pairs, passage
from steering.directions.contrasts import lda, mean_difference, pca, probe
from steering.directions.direction import Direction, random_like
from steering.directions.pairs import PairSet
from steering.models.loading import load_model
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site

SITE = Site(1)
PAIRS = PairSet.from_lists(
    [" Yes, I agree.", " right", " I love it!", " yes"],
    [" No.", " wrong and so", " I hate it", " no no"],
    ["Is 7 plus 5 equal to 13?", "This is", "The cat:", "Is it so?"],
    name="agree",
)
CONTRASTS = [mean_difference, pca, probe, lda]


def vector(seed: int = 0, width: int = tiny.D_MODEL) -> torch.Tensor:
    return torch.randn(width, generator=torch.Generator().manual_seed(seed))


A, B = Direction(vector(1), SITE, name="a"), Direction(vector(2), SITE, name="b")


# Algebra ------------------------------------------------------------------------------------------------------------


def test_algebra_is_that_of_vectors() -> None:
    torch.testing.assert_close((A + B).vector, A.vector + B.vector)
    torch.testing.assert_close((A - B).vector, A.vector - B.vector)
    torch.testing.assert_close((2 * A).vector, (A + A).vector)
    torch.testing.assert_close((A * 3 / 3).vector, A.vector)
    torch.testing.assert_close((-(A * -20)).vector, (20 * A).vector)
    torch.testing.assert_close((A + B - B).vector, A.vector)
    assert (A + B).site == SITE and (A + B).name == "a + b"


def test_by_hand() -> None:
    """|(3, 4)| = 5 and the unit vector is (0.6, 0.8)."""
    v = Direction(torch.tensor([3.0, 4.0]), SITE)
    assert v.norm == 5.0
    torch.testing.assert_close(v.unit().vector, torch.tensor([0.6, 0.8]))
    assert (v * 2).unit().norm == pytest.approx(1.0) and (-v).norm == 5.0


def test_nothing_is_changed_in_place() -> None:
    given = vector()
    made = Direction(given, SITE)
    given += 1
    assert torch.equal(made.vector, vector())
    with pytest.raises(AttributeError):
        made.vector = given  # type: ignore[misc]


def test_any_dtype_becomes_float32() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int64):
        assert Direction((10 * vector()).to(dtype), SITE).vector.dtype == torch.float32


def test_the_fingerprint_is_of_what_it_does(sae_of: Callable[..., Sae]) -> None:
    assert A.fingerprint == Direction(A.vector, SITE, name="other", provenance={"x": 1}).fingerprint
    sae = sae_of("standard")
    others = [
        B,
        -A,
        Direction(A.vector, Site(2)),
        Direction(vector(1, tiny.D_SAE), SITE),
        Direction(vector(1, tiny.D_SAE), SITE, sae),
        Direction(vector(1, tiny.D_SAE), SITE, sae_of("gated")),
    ]
    assert len({A.fingerprint, *(other.fingerprint for other in others)}) == 7


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.tensor([1.0, float("nan")]), "NaN or infinity"),
        (torch.tensor([1.0, float("inf")]), "NaN or infinity"),
        (torch.tensor([1e300], dtype=torch.float64), "NaN or infinity"),  # overflows in float32
        (torch.zeros(4), "all zeros"),
        (torch.ones(2, 2), r"one row of numbers; got a tensor of shape \(2, 2\)"),
        (torch.ones(()), "one row of numbers"),
    ],
)
def test_what_is_no_direction(bad: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Direction(bad, SITE)


def test_what_cannot_be_added_or_scaled(sae_of: Callable[..., Sae]) -> None:
    sae = sae_of("standard")
    for other in (
        Direction(vector(2), Site(2)),
        Direction(vector(2, 48), SITE),
        Direction(vector(2, tiny.D_SAE), SITE, sae),
    ):
        for combine in (A.__add__, A.__sub__):
            with pytest.raises(ValueError, match="added in one space"):
                combine(other)
    with pytest.raises(ValueError, match="added in one space"):
        Direction(vector(2, tiny.D_SAE), SITE, sae) + Direction(vector(2, tiny.D_SAE), SITE, sae_of("gated"))
    with pytest.raises(ValueError, match="finite number"):
        A * float("inf")
    with pytest.raises(ValueError, match="all zeros"):
        A * 0
    with pytest.raises(ValueError, match="divided by zero"):
        A / 0
    for wrong in (lambda: A + 1, lambda: A * B, lambda: A * "2", lambda: 1 + A, lambda: A * True):
        with pytest.raises(TypeError):
            wrong()


def test_directions_of_two_models_are_not_added(tiny_llama: Model, tiny_gpt2: Model) -> None:
    ours, theirs = A.for_model(tiny_llama), B.for_model(tiny_gpt2)
    with pytest.raises(ValueError, match="Directions of one model"):
        ours + theirs
    assert (ours + B).provenance["model"] == tiny_llama.identity  # one made by hand goes with any
    assert (B - ours).provenance["model"] == tiny_llama.identity
    first, second = (Direction(vector(), SITE, provenance={"model": {"model": name}}) for name in ("one", "two"))
    assert (first + second).provenance["model"] == {"model": "one"}
    assert (ours + theirs.for_model(tiny_llama)).norm > 0


# Feature space ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_decoded_is_what_the_features_write(architecture: str, sae_of: Callable[..., Sae]) -> None:
    sae = sae_of(architecture)
    v = Direction(vector(3, tiny.D_SAE), sae.site, sae)
    f = vector(4, tiny.D_SAE)[None]
    torch.testing.assert_close(
        sae.decode(f + 2 * v.vector) - sae.decode(f), 2 * v.decoded()[None], atol=1e-4, rtol=1e-4
    )
    assert torch.equal(A.decoded(), A.vector)


def test_top_k_keeps_the_largest(sae_of: Callable[..., Sae]) -> None:
    sae = sae_of("standard")
    values = torch.zeros(tiny.D_SAE)
    values[[3, 10, 20, 30]] = torch.tensor([-5.0, 1.0, 4.0, 2.0])
    kept = Direction(values, sae.site, sae).top_k(2).vector
    assert kept.nonzero().flatten().tolist() == [3, 20] and kept[3] == -5.0
    assert Direction(values, sae.site, sae).top_k(1000).norm == pytest.approx(46**0.5)
    with pytest.raises(ValueError, match="at least one feature"):
        Direction(values, sae.site, sae).top_k(0)
    with pytest.raises(ValueError, match=r"Build it with sae=\.\.\."):
        A.top_k(3)


def test_a_direction_fits_its_sae(sae_of: Callable[..., Sae]) -> None:
    sae = sae_of("standard")
    with pytest.raises(ValueError, match="has 96 entries; got 32"):
        Direction(vector(), sae.site, sae)
    with pytest.raises(ValueError, match=r"is at blocks\.1\.hook_resid_post; the direction is at blocks\.2"):
        Direction(vector(0, tiny.D_SAE), Site(2), sae)


# Where it belongs ---------------------------------------------------------------------------------------------------


def test_a_direction_made_by_hand_fits_every_model_of_its_width(lm: Model) -> None:
    assert A.check(lm) is A
    with pytest.raises(ValueError, match="has width 48; .* has width 32"):
        Direction(vector(0, 48), SITE).check(lm)
    with pytest.raises(ValueError, match="layers 0 to 3; got layer 4"):
        Direction(vector(), Site(4)).check(lm)


def test_a_stream_that_the_model_lacks(model: Callable[[str], Model]) -> None:
    with pytest.raises(ValueError, match="has no resid_mid"):
        Direction(vector(), Site(1, "resid_mid")).check(model("neox"))


def test_a_direction_stays_with_its_weights(
    tiny_llama: Model, tiny_gpt2: Model, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    v = mean_difference(tiny_llama, PAIRS, SITE)
    assert v.check(tiny_llama) is v
    assert v.check(load_model(checkpoint("llama"))) is v  # the same weights, loaded again
    retrained = load_model(tiny.write_checkpoint("llama", tmp_path / "retrained", seed=1))
    for other in (tiny_gpt2, retrained):
        with pytest.raises(ValueError, match=r"was read from .* use direction\.for_model\(lm\)"):
            v.check(other)
        moved = v.for_model(other)
        assert moved.check(other) is moved and torch.equal(moved.vector, v.vector)
        assert moved.provenance["moved_from"] == tiny_llama.identity


def test_another_loading_mode_is_refused(tiny_llama: Model) -> None:
    processed = {**tiny_llama.identity, "loading": "processed"}
    with pytest.raises(ValueError, match="loaded in the mode 'processed'.*'raw'"):
        Direction(vector(), SITE, provenance={"model": processed}).check(tiny_llama)


def test_a_direction_fits_its_checkpoint_in_another_dtype(checkpoint: Callable[[str], Path]) -> None:
    """Rounding changes every number of a float32 checkpoint; another model's weights are still refused."""
    full = load_model(checkpoint("llama"))
    half = load_model(checkpoint("llama"), dtype="bfloat16")
    assert full.fingerprint != half.fingerprint and full.identity["rounded"] == half.identity["rounded"]
    v, w = (mean_difference(one, PAIRS, SITE) for one in (full, half))
    assert v.check(half) is v and w.check(full) is w and (v + w).check(full)
    old = {key: value for key, value in full.identity.items() if key != "rounded"}  # as files of earlier versions say
    kept = replace(v, provenance={**v.provenance, "model": old})
    assert kept.check(full) is kept
    with pytest.raises(ValueError, match="with the weights"):
        kept.check(half)
    half.hf.get_input_embeddings().weight.mul_(2)  # type: ignore[operator]
    del half.fingerprint, half.rounded_fingerprints
    with pytest.raises(ValueError, match="with the weights"):
        v.check(half)


def test_derived_directions_still_know_their_model(tiny_llama: Model, tiny_gpt2: Model) -> None:
    v = mean_difference(tiny_llama, PAIRS, SITE)
    for derived in (-v, 2 * v, v.unit(), v + A, A + v, random_like(v)):
        derived.check(tiny_llama)
        with pytest.raises(ValueError, match="was read from"):
            derived.check(tiny_gpt2)


# Files --------------------------------------------------------------------------------------------------------------


def test_save_and_load_give_the_same(tiny_llama: Model, sae_of: Callable[..., Sae], tmp_path: Path) -> None:
    v = 3 * mean_difference(tiny_llama, PAIRS, SITE)
    again = Direction.load(v.save(tmp_path / "new folder" / "v.safetensors"))
    assert torch.equal(again.vector, v.vector)
    assert (again.site, again.name, again.provenance) == (v.site, v.name, v.provenance)
    assert again.fingerprint == v.fingerprint and again.check(tiny_llama)
    assert again.to_bytes() == v.to_bytes() == v.to_bytes()
    assert Direction.load(tmp_path / "new folder" / "v.safetensors", sae=sae_of("standard")).sae is None  # not needed
    assert [file.name for file in (tmp_path / "new folder").iterdir()] == ["v.safetensors"]


def test_a_feature_direction_needs_its_sae(sae_of: Callable[..., Sae], tiny_llama: Model, tmp_path: Path) -> None:
    sae = sae_of("standard")
    v = mean_difference(tiny_llama, PAIRS, sae.site, sae=sae)
    path = v.save(tmp_path / "v.safetensors")
    again = Direction.load(path, sae=sae)
    assert torch.equal(again.vector, v.vector) and again.fingerprint == v.fingerprint
    with pytest.raises(ValueError, match=r"in the features of 'llama-standard'; load that SAE"):
        Direction.load(path)
    with pytest.raises(ValueError, match="is another SAE"):
        Direction.load(path, sae=sae_of("standard", seed=1))
    by_hand = Direction(vector(0, tiny.D_SAE), sae.site, sae).save(tmp_path / "hand.safetensors")
    with pytest.raises(ValueError, match="is another SAE"):
        Direction.load(by_hand, sae=sae_of("gated"))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "there is none at"),
        ("pickle", "never from pickles"),
        ("truncated", "never from pickles"),
        ("foreign", "has no header by Tiller"),
        ("broken header", "has no header by Tiller"),
        ("no vector", "holds a tensor named 'vector'"),
        ("matrix", "one row of numbers"),
        ("bad site", "A hook name reads like"),
        ("nan", "NaN or infinity"),
        ("large", "at most 0 MB"),
    ],
)
def test_a_file_that_is_no_direction(how: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = A.save(tmp_path / "v.safetensors")
    header = {"tiller": json.dumps({"name": "", "site": str(SITE), "provenance": {}})}
    if how == "missing":
        path.unlink()
    elif how == "pickle":
        torch.save(A.vector, path)
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    elif how == "foreign":
        save_file({"vector": A.vector}, path)
    elif how == "broken header":
        save_file({"vector": A.vector}, path, metadata={"tiller": "{"})
    elif how == "no vector":
        save_file({"other": A.vector}, path, metadata=header)
    elif how == "matrix":
        save_file({"vector": A.vector[None]}, path, metadata=header)
    elif how == "bad site":
        save_file({"vector": A.vector}, path, metadata={"tiller": header["tiller"].replace("resid_post", "z.q")})
    elif how == "nan":
        save_file({"vector": A.vector * float("nan")}, path, metadata=header)
    elif how == "large":
        monkeypatch.setattr(directions, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match=message):
        Direction.load(path)


def test_provenance_is_plain_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="plain data that JSON can hold"):
        Direction(vector(), SITE, provenance={"model": {"x": object()}}).save(tmp_path / "v")


# The control --------------------------------------------------------------------------------------------------------


def test_a_control_has_the_same_norm_and_space(sae_of: Callable[..., Sae]) -> None:
    sae = sae_of("standard")
    dense = Direction(vector(0, tiny.D_SAE), sae.site, sae)
    for v in (A, dense, dense.top_k(5)):  # A itself was drawn with seed 1
        control = random_like(v, seed=1)
        assert control.norm == pytest.approx(v.norm) and control._space == v._space
        assert (control.vector != 0).sum() == (v.vector != 0).sum()
        assert abs(float(control.unit().vector @ v.unit().vector)) < 0.6
        assert torch.equal(random_like(v, seed=1).vector, control.vector)
        assert not torch.equal(random_like(v, seed=2).vector, control.vector)
        assert not torch.equal(random_like(control, seed=1).vector, control.vector)  # a control is not its own


# Contrasts on a model -----------------------------------------------------------------------------------------------


def test_the_mean_difference_is_caas(lm: Model) -> None:
    def alone(prompt: str, completion: str) -> torch.Tensor:
        item = passage(lm, prompt, completion)
        h = lm.activations([item.tokens], [SITE])[0][SITE][0].double()
        return h[item.start : item.end].mean(0)

    expected = reference.caa([alone(*pair.sides[0]) for pair in PAIRS], [alone(*pair.sides[1]) for pair in PAIRS])
    v = mean_difference(lm, PAIRS, SITE)
    torch.testing.assert_close(v.vector, expected.float(), atol=1e-4, rtol=1e-4)
    swapped = mean_difference(lm, PAIRS.swapped, SITE)
    torch.testing.assert_close(swapped.vector, -v.vector, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("contrast", CONTRASTS, ids=lambda contrast: contrast.__name__)
@pytest.mark.parametrize("position", ["completion_mean", "last", -2])
@pytest.mark.parametrize("features", [False, True])
def test_every_contrast_separates_its_own_pairs(
    contrast: Callable[..., Direction], position: str | int, features: bool, lm: Model, family: str, sae_of: Callable
) -> None:
    sae = sae_of("jumprelu", family=family) if features else None
    v = contrast(lm, PAIRS, SITE, position=position, sae=sae)
    positive, negative = of_pairs(lm, PAIRS, [SITE], position=position, sae=sae)[SITE]
    assert (positive @ v.vector).mean() > (negative @ v.vector).mean()
    fitted = getattr(estimators, contrast.__name__)(positive.double().numpy(), negative.double().numpy())
    torch.testing.assert_close(v.vector, torch.from_numpy(fitted).float())
    assert v.sae is sae and v.vector.shape == (tiny.D_SAE if features else tiny.D_MODEL,)
    assert v.name == "agree" and v.check(lm) is v


def test_a_contrast_reads_as_it_is_told(tiny_gemma2: Model) -> None:
    told: list[float] = []
    plain = mean_difference(tiny_gemma2, PAIRS, SITE, chat=False, progress=told.append)
    positive, negative = of_pairs(tiny_gemma2, PAIRS, [SITE], chat=False)[SITE]
    torch.testing.assert_close(plain.vector, positive.mean(0) - negative.mean(0), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain.vector, mean_difference(tiny_gemma2, PAIRS, SITE).vector, atol=1e-2)
    assert told[-1] == 1.0 and plain.provenance["chat"] is False


def test_where_it_came_from(tiny_llama: Model) -> None:
    about = pca(tiny_llama, PAIRS, SITE, position="last").provenance
    assert (about["method"], about["position"]) == ("pca", "last")
    assert about["model"] == tiny_llama.identity
    assert about["pairs"] == {"name": "agree", "n": 4, "hash": PAIRS.content_hash}
    assert json.loads(json.dumps(about)) == about


def test_pairs_that_do_not_differ(tiny_llama: Model) -> None:
    with pytest.raises(ValueError, match="no direction between them"):
        mean_difference(tiny_llama, PairSet.from_lists(["same"], ["same"]), SITE)


def test_an_sae_of_another_site(tiny_llama: Model, sae_of: Callable[..., Sae]) -> None:
    with pytest.raises(ValueError, match=r"reads blocks\.1\.hook_resid_post; asked for blocks\.2"):
        mean_difference(tiny_llama, PAIRS, Site(2), sae=sae_of("standard"))


def test_a_float16_load_is_the_same_model_to_its_directions(checkpoint: Callable[[str], Path]) -> None:
    full, half = load_model(checkpoint("llama")), load_model(checkpoint("llama"), dtype="float16")
    v = mean_difference(full, PAIRS, SITE)
    assert full.fingerprint != half.fingerprint and v.check(half) is v
    half.hf.get_input_embeddings().weight.mul_(2)  # type: ignore[operator]
    del half.fingerprint, half.rounded_fingerprints
    with pytest.raises(ValueError, match="with the weights"):
        v.check(half)


def test_controls_do_not_hang_on_the_last_bit_of_a_direction(tiny_llama: Model) -> None:
    """Another processor rounds differently: the recipe draws the controls, and only numbers of no known recipe do."""
    v = mean_difference(tiny_llama, PAIRS, SITE)
    bit = torch.nextafter(v.vector, torch.full_like(v.vector, 9.0))
    other = replace(v, vector=bit)
    assert v.fingerprint != other.fingerprint and v.recipe == other.recipe
    torch.testing.assert_close(random_like(v, 3).vector, random_like(other, 3).vector, rtol=1e-5, atol=1e-6)
    doubled, redoubled = 2 * v, 2 * other  # parts are remembered with their hashes, which do not count
    torch.testing.assert_close(random_like(doubled, 3).vector, random_like(redoubled, 3).vector, rtol=1e-5, atol=1e-6)
    mine = random_like(v, 3).unit().vector
    moved = replace(v, provenance={**v.provenance, "position": "last"})
    for another in (
        random_like(v, 4),
        random_like(moved, 3),
        random_like(doubled, 3),
        random_like(random_like(v, 3), 3),
    ):
        assert float((mine @ another.unit().vector).abs()) < 0.9
    by_hand = Direction(v.vector, SITE)
    assert by_hand.recipe == "" and not torch.equal(
        random_like(by_hand, 3).vector, random_like(Direction(bit, SITE), 3).vector
    )
