"""What was read of a model is kept by its weights and the texts: no pass is made twice; the numbers are the same."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from steering.directions.activations import of_pairs
from steering.directions.pairs import PairSet
from steering.jobs.jobs import Cancelled
from steering.measurements import known
from steering.measurements.known import Known
from steering.measurements.numbers import typical_norms
from steering.models.model import Model
from steering.sites import Site

QUESTIONS = [f"Is {n} plus 5 equal to 13? I think that you are right, of course!" for n in range(6)]
PAIRS = PairSet.from_lists([" Yes, it was so."] * 6, [" No, I hate you."] * 6, QUESTIONS, name="arithmetic")
OTHERS = PairSet.from_lists(["I love you", "They all agreed"], ["I hate you", "The dog was not happy"], name="others")


@pytest.fixture
def fresh(model: Callable[[str], Model]) -> Model:
    """A model that no other test changes."""
    lm = model("llama")
    return Model(lm.name, copy.deepcopy(lm.hf), lm.tokenizer)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each pass of a model has read."""
    read: list[int] = []
    forward = Model.forward

    def counted(self: Model, tokens: torch.Tensor, **options: object) -> object:
        read.append(tokens.numel())
        return forward(self, tokens, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Model, "forward", counted)
    return read


def same(found: dict, expected: dict) -> bool:
    return list(found) == list(expected) and all(
        torch.allclose(a, b, atol=1e-4) for site in found for a, b in zip(found[site], expected[site], strict=True)
    )


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "neox"])
def test_what_is_kept_is_what_the_model_gives(family: str, model: Callable[[str], Model], tmp_path: Path) -> None:
    lm = model(family)
    sites = [Site(layer, stream) for layer in range(lm.n_layers) for stream in lm.streams]
    kept = Known(lm, tmp_path)
    for position in ("completion_mean", "last", "prompt_last"):
        expected = of_pairs(lm, PAIRS, sites, position=position)
        assert same(kept.of_pairs(PAIRS, sites, position=position), expected)
        assert same(Known(lm, tmp_path).of_pairs(PAIRS, sites, position=position), expected)
    assert kept.norms() == Known(lm, tmp_path).norms() == pytest.approx(typical_norms(lm))


def test_another_layer_fewer_pairs_and_the_next_start_cost_no_pass(
    fresh: Model, tmp_path: Path, passes: list[int]
) -> None:
    kept = Known(fresh, tmp_path)
    assert not kept.knows(PAIRS)
    kept.of_pairs(PAIRS, [Site(1)])
    read = len(passes)
    assert read and kept.knows(PAIRS) and kept.knows(PAIRS, "resid_pre") and not kept.knows(PAIRS, "mlp_out")
    for again in (kept, Known(fresh, tmp_path)):
        again.of_pairs(PAIRS, [Site(3), Site(0, "resid_pre")])
        few = again.of_pairs(PairSet(PAIRS.pairs[1:4]), [Site(2)])[Site(2)]
        assert torch.equal(few[0], again.of_pairs(PAIRS, [Site(2)])[Site(2)][0][1:4])
    assert len(passes) == read
    more = PairSet((*PAIRS.pairs, *OTHERS.pairs))
    assert same(kept.of_pairs(more, [Site(2)]), of_pairs(fresh, more, [Site(2)]))  # only the new ones are read
    assert passes[read] < sum(passes[:read])


def test_neutral_text_and_norms_are_read_once(fresh: Model, tmp_path: Path, passes: list[int]) -> None:
    kept = Known(fresh, tmp_path)
    found, norms = kept.neutral(Site(1)), kept.norms()
    texts = [fresh.encode(text) for text in kept._neutral()]
    direct = torch.cat([fresh.activations([ids], [Site(1)])[0][Site(1)][0, 1:] for ids in texts])
    assert torch.allclose(found, direct, atol=1e-5) and found.norm(dim=-1).median() == pytest.approx(norms[Site(1)])
    passes.clear()
    again = Known(fresh, tmp_path)
    assert torch.equal(again.neutral(Site(1)), found) and len(again.neutral(Site(2))) == len(found)
    assert again.norms() == norms and not passes


def test_edited_weights_are_another_model(fresh: Model, tmp_path: Path) -> None:
    kept = Known(fresh, tmp_path)
    before = kept.of_pairs(PAIRS, [Site(2)])
    with torch.no_grad():
        fresh.blocks[0].mlp.down_proj.weight.mul_(3)  # type: ignore[union-attr, operator]
    after = kept.of_pairs(PAIRS, [Site(2)])
    assert not same(after, before) and same(after, of_pairs(fresh, PAIRS, [Site(2)]))
    assert not Known(Model("b", fresh.hf, fresh.tokenizer, products="bfloat16"), tmp_path).knows(PAIRS)


def test_a_file_that_is_gone_or_damaged_is_read_again(fresh: Model, tmp_path: Path, passes: list[int]) -> None:
    kept = Known(fresh, tmp_path)
    expected = kept.of_pairs(PAIRS, [Site(2)])
    (path,) = tmp_path.glob("*/*.safetensors")
    path.unlink()
    assert same(kept.of_pairs(PAIRS, [Site(2)]), expected)
    path.write_bytes(path.read_bytes()[:50])
    passes.clear()
    assert same(Known(fresh, tmp_path).of_pairs(PAIRS, [Site(2)]), expected) and passes


def test_where_the_disk_takes_nothing_it_is_kept_in_memory(
    fresh: Model, tmp_path: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(known, "write_atomically", full)
    kept = Known(fresh, tmp_path)
    first = kept.of_pairs(PAIRS, [Site(1)])
    assert kept.norms() and (read := len(passes))
    assert same(kept.of_pairs(PAIRS, [Site(1)]), first) and kept.of_pairs(PAIRS, [Site(3)]) and len(passes) == read


def test_nobody_waits_for_a_reading_to_look_something_up(fresh: Model, tmp_path: Path) -> None:
    kept, found = Known(fresh, tmp_path), []
    kept.norms()
    with kept._reading["pairs"], kept._reading["neutral"]:  # as while another thread reads them

        def look() -> None:
            found.append((kept.norms(), kept.surveyed([PAIRS]), kept.knows(PAIRS)))

        thread = threading.Thread(target=look)
        thread.start()
        thread.join(10)
        assert found and found[0][1:] == (False, False)


def test_the_files_used_longest_ago_go_first(fresh: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Known(fresh, tmp_path)
    kept.of_pairs(OTHERS, [Site(1)])
    kept.of_pairs(PAIRS, [Site(1)])
    for n, path in enumerate(sorted(tmp_path.glob("*/*.safetensors"), key=lambda path: path.stat().st_size)):
        os.utime(path, (n, n))  # the smaller one, of the others, was used first
    small, large = sorted(path.stat().st_size for path in tmp_path.glob("*/*.safetensors"))
    monkeypatch.setattr(known, "MOST_BYTES", small // 2 + 2 * large)
    kept.of_pairs(PAIRS, [Site(1)], position="last")
    assert kept.knows(PAIRS) and kept.knows(PAIRS, position="last") and not Known(fresh, tmp_path).knows(OTHERS)


def test_a_survey_says_how_far_it_is_and_keeps_what_it_has(fresh: Model, tmp_path: Path, passes: list[int]) -> None:
    kept, said = Known(fresh, tmp_path), []

    def stop_at_the_second_set(done: int, total: int, note: str) -> None:
        said.append((done, total))
        if "others" in note:
            raise Cancelled

    with pytest.raises(Cancelled):
        kept.survey([PAIRS, OTHERS], stop_at_the_second_set)
    assert said == sorted(said) and {(0, 400), (100, 400), (200, 400), (300, 400)} <= set(said) and kept.knows(PAIRS)
    assert not kept.knows(OTHERS) and not kept.surveyed([PAIRS, OTHERS])
    kept.survey([PAIRS, OTHERS])
    assert kept.knows(OTHERS) and Known(fresh, tmp_path).surveyed([PAIRS, OTHERS]) and not kept.surveyed([PAIRS])
    passes.clear()
    assert kept.survey([PAIRS, OTHERS]) == [] and not passes
    long = PairSet.from_lists(["The cat sat. " * 99], ["The dog sat. " * 99], name="long")
    (problem,) = kept.survey([PAIRS, long])
    assert problem.startswith("Not read: the pairs of long. Pair 1: ") and kept.surveyed([PAIRS, long])
