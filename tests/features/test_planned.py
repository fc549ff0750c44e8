"""Indexes of a training plan: from texts and prompts that the training never saw, whatever was left beside them."""

from __future__ import annotations

import json

import pytest

from steering.features import FeatureIndex
from steering.features.__main__ import main
from steering.features.making.planned import held_out_chats, held_out_texts
from steering.jobs.checkpoint import Checkpoint
from steering.saes.__main__ import main as train
from steering.saes.making.plan import TrainingPlan, prompts_of, windows_of
from steering.saes.making.tokens import answers

PROMPTS = [f"Is {n} plus {n + 5} equal to 13?" + " I think so." * (n % 3) for n in range(120)]
TEXTS = [f"The cat sat on the mat and looked at the moon, {n} times." for n in range(60)]


@pytest.fixture
def plan_file(checkpoint, tmp_path):
    (tmp_path / "prompts.jsonl").write_text("\n".join(json.dumps({"prompt": text}) for text in PROMPTS))
    (tmp_path / "train.txt").write_text("\n\n".join(TEXTS))
    (tmp_path / "held.txt").write_text("\n\n".join(f"She said yes to the dog, {n} times." for n in range(30)))
    file = tmp_path / "tiny.toml"
    file.write_text(
        f'model = "{checkpoint("qwen2")}"\nsites = ["blocks.1.hook_resid_post"]\ncontext = 64\nanswer_tokens = 4\n'
        f'answer_rows = 64\nmeasure_tokens = 500\ntexts = ["{tmp_path / "train.txt"}"]\n'
        f'held_out = ["{tmp_path / "held.txt"}"]\nprompts = ["{tmp_path / "prompts.jsonl"}"]\n'
        '[recipe]\narchitecture = "topk"\nd_sae = 48\nk = 4\nsamples = 6400\nbatch = 64\nlearning_rate = 3e-3\n'
    )
    return file


def test_a_trained_plan_gets_indexes_with_names(plan_file, capsys):
    assert main(["plan", str(plan_file)]) == 2
    assert "Train them first" in capsys.readouterr().err  # before a model is loaded or an answer sampled
    assert train(["train", str(plan_file)]) == 0
    assert main(["plan", str(plan_file), "--texts", "10", "--chats", "2", "--context", "32"]) == 0
    folder = plan_file.with_suffix("") / "blocks.1.hook_resid_post"
    index = FeatureIndex.open(folder / "index")
    assert index.about["texts"] == 12 and index.about["context"] == 32 and index.n_features == 48
    assert set(index.made) == {n for n in range(48) if index.density[n] > 0} and len(index.made) > 5
    seen = "".join(example.text for n in index.made for example in index.feature(n).bands[0].examples)
    assert "She said" in seen and "cat sat" not in seen
    assert not (folder.parent / "held-out").exists() and not (folder.parent / "work").exists()


def test_an_index_reads_what_the_training_held_out(model, plan_file, tmp_path):
    lm = model("qwen2")
    plan = TrainingPlan.parse(plan_file.read_text())
    train_windows, held_windows = windows_of(plan, lm, tmp_path / "work", lambda *_: None)
    trained, held = (
        [lm.text(windows[n], special=True) for n in range(len(windows))] for windows in (train_windows, held_windows)
    )
    chosen = prompts_of(plan)[::50]
    assert len(chosen) == 3
    assert any(f"{PROMPTS[60]}<end>" in text for text in trained)
    for prompt in chosen:
        assert not any(f"{prompt}<end>" in text for text in trained)
    # The answers of the training lie in the same folder, under the same numbers of batches: of other prompts.
    chats = held_out_chats(plan, lm, tmp_path / "work", 2, lambda *_: None)
    assert all(sum(f"{prompt}<end>" in chat for chat in chats) == 1 for prompt in chosen[:2]) and len(chats) == 2
    assert any("Be kind." in text for text in held) and "Be kind." in chats[0] and "Be kind." not in chats[1]
    texts = held_out_texts(plan, lm, tmp_path / "work", 4, 0, lambda *_: None)
    assert [int(text.split()[-2]) for text in texts] == [0, 7, 15, 22]  # evenly from the whole


def test_answers_of_other_prompts_are_not_taken_for_those_of_these(model, tmp_path):
    lm, kept = model("qwen2"), Checkpoint(tmp_path / "answers")
    first = answers(lm, PROMPTS[:4], kept, lambda *_: None, tokens=4, rows=4)
    other = answers(lm, PROMPTS[4:8], kept, lambda *_: None, tokens=4, rows=4)
    assert {chat[0]["content"] for chat in first} <= set(PROMPTS[:4])
    assert {chat[0]["content"] for chat in other} <= set(PROMPTS[4:8]) and other
