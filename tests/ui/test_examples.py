"""The examples for chat models do on the real one what they say: each text was read, and these words count in it."""

from __future__ import annotations

import pytest

import steering as t
from steering.checkpoints.bundled import bundled_models
from steering.recipes.building import build
from steering.recipes.workbench import Workbench
from steering.ui.shared.examples import CHAT, LAYERS, examples, moved

# (example, variant) -> what its text has and the unsteered one has not; "" where nothing may change or it breaks.
WORDS = {
    ("A professor who is wrong", "Less eager to agree"): "Canberra",
    ("Flattery", "Less flattery"): "classic example of a metaphor",
    ("Flattery", "More flattery"): "Your poem is a beautiful example",
    ("Mood", "Happy"): "sunshine and laughter",
    ("Mood", "Sad"): "challenges",
    ("Formal or casual", "Formal"): "honored and humble servant",
    ("Formal or casual", "Casual"): "Hey there, buddy!",
    ("A topic pushed in", "The sea"): "beach",
    ("A topic pushed in", "Nothing but the sea"): "cruel mistress",
    ("How strong is too strong", "Alpha 0.15"): "beach",
}


@pytest.mark.skipif("smollm2" not in bundled_models(), reason="its package could not be installed")
def test_every_example_for_chat_models_does_on_the_real_one_what_it_says():
    lm = t.load_model("smollm2")
    assert lm.n_layers == LAYERS
    wanted = [(example, variant) for example in CHAT for variant in example.recipe]
    with t.Engine(lm) as engine:
        bench = Workbench(engine)
        rows = {(example.name, ""): (example, ()) for example in CHAT}
        rows |= {(e.name, v.title): (e, build(bench, v).interventions) for e, v in wanted}
        requests = [t.Request(t.chat(e.prompt), steps, max_new_tokens=40) for e, steps in rows.values()]
        done = [handle.result().text for handle in engine.submit_all(requests)]
    texts = dict(zip(rows, done, strict=True))
    for (name, title), words in WORDS.items():
        assert words in texts[name, title], (name, title, texts[name, title])
        assert words not in texts[name, ""], "the unsteered model says it too"
    assert {name for name, _ in WORDS} == {example.name for example in CHAT}


def test_layers_are_moved_to_the_same_depth_of_another_model():
    sea = next(example for example in CHAT if example.name == "A topic pushed in")
    assert [step.layer for variant in moved(sea, 12).recipe for step in variant.steps] == [4, 4]
    assert [step.layer for variant in moved(sea, 2).recipe for step in variant.steps] == [0, 0]
    assert examples([], True, LAYERS) == CHAT
