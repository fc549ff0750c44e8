"""What a notebook shows and offers: one-line reprs, safe HTML, and everything that is needed reachable from `t.`"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import inspect
import io
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import steering as t
from steering.engine.own import own_engine
from steering.evaluations import SCORERS, Arm, Item, Outcome, Settings
from steering.evaluations.comparison import Table
from steering.evaluations.refusal.selection import DirectionScores
from steering.measurements.tuning.model_diff import PartChange, TokenChange
from steering.saes.loading import middle_of
from steering.showing.html import table, tinted_tokens
from steering.showing.one_line import LONGEST, clipped, one_line

SITE = t.Site(2)
HOSTILE = "<script>alert('1')</script>\n& **bold** `code`"


def public_values(lm: t.Model, sae: t.Sae) -> Iterator[Any]:
    """One value of every public class of `t.`, as large as they come."""
    pairs = tuple(t.PromptPair(HOSTILE * 50, f"yes {k} " * 99, "no " * 99) for k in range(300))
    vector = torch.linspace(-1, 1, lm.d_model)
    direction = t.Direction(vector, SITE, name="v" * 300)
    other = t.Direction(torch.randn(lm.d_model, generator=torch.Generator().manual_seed(0)), SITE)
    features = t.Direction(torch.ones(sae.d_sae), sae.site, sae, "in features")
    amounts = dict.fromkeys(range(sae.d_sae), 1.0)
    matrix = torch.randn(60, lm.d_model, generator=torch.Generator().manual_seed(1))
    added = t.ActivationAddition(t.Direction(vector, SITE, name="v"))
    steps = (
        t.ActivationAddition(direction),
        t.ActAdd(matrix, SITE),
        t.AffineAblation(direction, other),
        t.AngularSteering(direction, other),
        t.Conditional(direction, 0.0, added),
        t.DirectionalAblation(direction),
        t.FeatureAblation(sae, list(amounts)),
        t.FeatureAddition(sae, amounts),
        t.FeatureClamp(sae, amounts),
        t.SaeAblation(features),
        t.SaeReconstruction(sae),
        t.Sara(matrix, matrix, SITE),
        t.ThresholdRegulator(features, tau=1.0),
    )
    yield from [lm, sae, SITE, t.PairSet(pairs, "pairs" * 50), pairs[0], direction, features, *steps]
    yield t.PromptPair("", HOSTILE * 9, HOSTILE * 9, HOSTILE * 9, HOSTILE * 9)
    with t.Engine(lm) as engine:
        (completion,) = engine.generate(HOSTILE[:40], [added], record=[SITE], max_new_tokens=40, ignore_eos=True)
        yield from [engine, completion, t.Request("The cat"), *completion.receipts]
    items = tuple(Item(HOSTILE * 20, labels={"k": k, "note": HOSTILE * 9}) for k in range(400))
    found = t.EvaluationSet(items, SCORERS["claims"], "set" * 99)
    outcome = Outcome("arm", "set", 0, 0, HOSTILE * 9, measures=dict.fromkeys("abcdefgh", 1.0))
    arm, nothing = Arm("arm", steps, instruction=HOSTILE * 9), Table((), ())
    yield from [found, items[0], outcome, arm, Settings(), nothing, t.load_experiment("sara")]
    yield from [t.SelectionRule(), t.RewardItem(HOSTILE * 9, HOSTILE * 9, 1.0), *comparisons()]
    yield t.Result(t.load_experiment("sara"), (found,) * 9, (arm,) * 9, (outcome,) * 900, nothing)


def comparisons() -> Iterator[Any]:
    """What the search for a refusal direction, and the comparison of two models, return."""
    scores = tuple(DirectionScores(-1 - p, layer, -1.0, 1.0, 0.01) for p in range(5) for layer in range(40))
    yield t.RefusalDirection(
        HOSTILE * 9, 40, (HOSTILE,) * 5, torch.ones(5, 40, 8), torch.ones(5, 40, 8), (3,), (), scores,
        t.SelectionRule(), 1.0, 2.0, -2.0, ((9, 9), (9, 9)), ((HOSTILE,) * 9, (HOSTILE,) * 9), {}, 1.0,
    )  # fmt: skip
    part = PartChange(0, "MLP", 1.0, 0.1)
    yield t.ModelDiff(HOSTILE * 9, HOSTILE * 9, (part,), (), (TokenChange((HOSTILE,) * 99, (1.0,) * 99),), ())
    items = (t.RewardItem(HOSTILE, HOSTILE),) * 99
    yield t.ImplicitReward(HOSTILE * 9, HOSTILE * 9, items, np.ones(99), np.ones(99), None, (1, 2), (), ())


@pytest.fixture(scope="module")
def values(tiny_llama: t.Model, tiny_sae: t.Sae) -> list[Any]:
    return list(public_values(tiny_llama, tiny_sae))


# Text ---------------------------------------------------------------------------------------------------------------


def test_every_public_value_prints_on_one_short_line(values: list[Any]) -> None:
    for value in values:
        shown = repr(value)
        assert len(shown) <= LONGEST and "\n" not in shown, f"{type(value).__name__}: {len(shown)} characters"
        assert shown.startswith(type(value).__name__) or value is SITE or type(value) is t.Site


def test_every_public_class_was_printed(values: list[Any]) -> None:
    classes = {name for name in t.__all__ if isinstance(getattr(t, name), type)}
    assert classes - {type(value).__name__ for value in values} == {"Intervention", "Store"}


def test_a_store_prints_its_folder(tmp_path: Any) -> None:
    assert repr(t.Store(tmp_path)) == f"Store({str(tmp_path)!r})"


def test_a_method_of_somebody_elses_prints_on_one_line_too() -> None:
    @dataclasses.dataclass(frozen=True, eq=False)
    class Doubled(t.Intervention):
        matrix: torch.Tensor

        def placements(self, model: t.Model) -> list:
            return []

    assert repr(Doubled(torch.ones(99, 99))) == "Doubled(matrix=tensor[99, 99])"


def test_clipped_text_says_that_it_is_cut() -> None:
    assert clipped("a\n b\tc") == "a b c"
    assert clipped("abcdefgh", 6) == "abc..."
    assert one_line(SITE, "", "x" * 500).endswith("...)")


# HTML ---------------------------------------------------------------------------------------------------------------


def test_a_completion_is_tinted_and_escaped(values: list[Any]) -> None:
    completion = next(value for value in values if isinstance(value, t.Completion))
    shown = completion._repr_html_()
    assert shown.count("<span") == len(completion.tokens)
    assert "projection on v" in shown and "ActivationAddition" in shown


def test_token_text_is_escaped() -> None:
    shown = tinted_tokens([HOSTILE, "b"], [1.0, -0.5], 'a "what"')
    assert "<script" not in shown and "&lt;script&gt;" in shown
    assert 'title="a &quot;what&quot; 1"' in shown
    assert "230, 126, 34, 0.55" in shown and "41, 128, 185, 0.28" in shown  # strongest where the value is largest
    assert tinted_tokens([], [], "x").count("<span") == 0


def test_a_set_shows_its_first_rows_escaped(values: list[Any]) -> None:
    shown = next(value for value in values if isinstance(value, t.EvaluationSet))._repr_html_()
    assert shown.count("<tr>") == 11 and "the first 10 are shown" in shown
    assert "<script" not in shown and "&lt;script&gt;" in shown
    assert "<b>" not in table([{"<b>": "<b>"}])


# What is reachable --------------------------------------------------------------------------------------------------


def test_what_ships_is_listed() -> None:
    assert {"organism", "organism-base"} <= set(t.bundled_models())
    assert "blocks.3.hook_resid_post" in t.bundled_saes()["organism"]
    assert "pressure" in t.bundled_pairs()
    assert "organism_claims" in t.bundled_sets()
    assert {"regulator", "sara"} <= set(t.bundled_experiments())
    assert len(t.load_set("organism_claims")) == 400


def test_names_that_come_later_are_listed_and_unknown_ones_refused() -> None:
    assert set(t.__all__) <= set(dir(t))
    with pytest.raises(AttributeError, match="no attribute 'bundled_model'"):
        t.bundled_model  # noqa: B018


def test_what_comes_later_is_not_imported_at_once() -> None:
    program = "import sys, steering; print([name for name in sys.modules if name.startswith('steering.')])"
    names = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "steering.engine.engine" in names
    for later in ("steering.evaluations", "steering.experiments", "steering.library", "steering.ui"):
        assert later not in names


def test_a_misspelt_bundled_name_is_met_with_the_near_one() -> None:
    with pytest.raises(ValueError, match=r"^Did you mean 'organism'"):
        t.load_model("orgnism")


def test_a_model_in_memory_is_steered_like_a_loaded_one(tiny_llama: t.Model, folder: str) -> None:
    hf = transformers.AutoModelForCausalLM.from_pretrained(folder)
    lm = t.wrap_model(hf, transformers.AutoTokenizer.from_pretrained(folder), "mine")
    assert lm.hf is hf and not hf.training and lm.name == "mine"
    assert lm.fingerprint == tiny_llama.fingerprint
    step = t.ActivationAddition(t.Direction(torch.ones(lm.d_model), SITE), alpha=2.0)
    texts = [[one.text for one in own.generate("ab", [(), step], max_new_tokens=8)] for own in (lm, tiny_llama)]
    assert texts[0] == texts[1]


def test_a_norm_needs_no_texts(tiny_llama: t.Model) -> None:
    assert t.typical_norm(tiny_llama, SITE) > 0


def test_an_sae_is_chosen_where_none_is_named() -> None:
    lm = t.load_model("organism")
    sae = t.load_sae(lm, "organism")
    assert sae.name == "organism/blocks.3.hook_resid_post"
    assert "chosen of 9" in repr(sae) and "blocks.4.hook_resid_post" in sae.notes[0]
    assert t.load_sae(lm, "organism", "blocks.4.hook_resid_post").notes == ()


def test_the_middle_layer_is_by_number() -> None:
    assert middle_of(["layer_10/a", "layer_2/b", "layer_9/long", "layer_9/b"]) == "layer_9/b"
    assert middle_of(["only"]) == "only"


# Generating ---------------------------------------------------------------------------------------------------------


def test_options_of_generate_are_those_of_a_request() -> None:
    written = inspect.signature(t.Engine.generate).parameters
    options = {field.name: field.default for field in dataclasses.fields(t.Request)}
    for name, default in options.items():
        if name not in ("prompt", "interventions"):
            assert written[name].default == default, name
    assert list(inspect.signature(t.Model.generate).parameters) == list(written)


def test_an_intervention_alone_is_a_variant(tiny_llama: t.Model) -> None:
    step = t.ActivationAddition(t.Direction(torch.ones(tiny_llama.d_model), SITE), alpha=2.0)
    alone, inside = (tiny_llama.generate("ab", variants, max_new_tokens=6) for variants in (step, [(step,)]))
    assert [one.text for one in alone] == [one.text for one in inside]
    assert t.Request("ab", step).interventions == (step,)
    assert own_engine(tiny_llama).score("ab", "cd", [(), step])[1] == own_engine(tiny_llama).score("ab", "cd", step)[0]


def test_a_model_keeps_one_engine_and_makes_another_once_that_is_closed(folder: str) -> None:
    lm = t.load_model(folder)
    first = own_engine(lm)
    assert own_engine(lm) is first
    first.close()
    assert own_engine(lm) is not first
    assert len(lm.generate("ab", max_new_tokens=3)[0].tokens) <= 3


def test_an_engine_goes_with_its_model(folder: str) -> None:
    lm = t.load_model(folder)
    (completion,) = lm.generate("ab", max_new_tokens=3)
    engine, model, thread = weakref.ref(own_engine(lm)), weakref.ref(lm), own_engine(lm)._thread
    del lm, completion
    gc.collect()
    thread.join(timeout=10)
    assert engine() is None and model() is None and not thread.is_alive()


def test_work_under_way_keeps_its_engine(tiny_llama: t.Model) -> None:
    """A handle of an engine that nobody else holds is finished all the same."""
    before = threading.active_count()
    handle = t.Engine(tiny_llama).submit(t.Request("ab", max_new_tokens=40, ignore_eos=True))
    gc.collect()
    assert len(handle.result(timeout=60).tokens) == 40
    assert threading.active_count() <= before + 1


# README -------------------------------------------------------------------------------------------------------------

README = Path(__file__).parent.parent / "README.md"


def test_the_lines_in_the_readme_run() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    baseline, *steered = (line for line in printed.getvalue().splitlines() if not line.startswith(" "))
    assert baseline.startswith("Yes") and steered[0].startswith("No") and len(steered) == 2


def test_the_readme_names_files_that_are_there() -> None:
    text = README.read_text(encoding="utf-8")
    names = re.findall(r"\]\((?!http)([^)]+)\)|(?:src|srcset)=\"([^\"]+)\"", text)
    order = re.findall(r"`([a-z_/]+\.py)`", text)
    found = [README.parent / (link or source) for link, source in names]
    found += [
        README.parent / name if "/" in name and "test" in name else README.parent / "steering" / name for name in order
    ]
    assert len(found) > 14
    assert [str(path) for path in found if not path.exists()] == []
