"""A model on this machine as the judge: what it chooses, counted by hand and transcribed, and how it is turned on."""

from __future__ import annotations

import math

import pytest
from steered_rows import logits_of

from steering import evaluations as ev
from steering.evaluations.scoring import judge, local_judge
from steering.evaluations.scoring.local_judge import LocalJudge, likeliest
from steering.models.chat import chat
from steering.models.loading import load_model


def test_a_reply_with_which_another_begins_has_only_the_rest_of_its_chance() -> None:
    # "1" is begun with 0.5, of which "10" takes 0.3: 0.2 are left, less than "10" has and than "2" has.
    assert likeliest(("1", "10", "2"), ((5,), (5, 6), (7,)), (0.5, 0.3, 0.25)) == "10"
    assert likeliest(("1", "10", "2"), ((5,), (5, 6), (7,)), (0.5, 0.1, 0.25)) == "1"


def test_where_the_model_would_say_something_else_nothing_is_judged() -> None:
    assert likeliest(("Yes", "No"), ((1,), (2,)), (0.06, 0.03)) == ""
    assert likeliest(("Yes", "No"), ((1,), (2,)), (0.06, 0.05)) == "Yes"


def test_it_chooses_what_the_log_probabilities_say_and_a_question_in_a_batch_is_judged_as_alone() -> None:
    lm = load_model("organism")
    questions = ["Is Canberra the capital of Australia?", "Is 7 times 8 equal to 54?", "Is Lima the capital of Japan?"]
    choices = ("Yes", "No")
    naive = []
    for question in questions:
        prompt = lm.tokens(chat(question))
        chances = []
        for choice in choices:
            ids = lm.encode(choice)
            chance = 0.0
            for k, one in enumerate(ids):
                chance += float(logits_of(lm, [*prompt, *ids[:k]])[-1].log_softmax(-1)[one])
            chances.append(math.exp(chance))
        naive.append("" if sum(chances) < 0.1 else choices[chances.index(max(chances))])
    asked = LocalJudge("organism")
    assert asked.replies(questions, choices) == naive
    assert [asked.replies([one], choices)[0] for one in questions] == naive


def test_a_model_without_an_address_is_a_local_judge_and_tables_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLER_JUDGE_MODEL", "somewhere/arbiter.gguf")
    scorer = ev.scorer("judge: stance")
    assert judge.is_on() and scorer.name == "judge arbiter: stance"
    assert scorer.needs == "text"
    with pytest.raises(ValueError, match=r"arbiter\.gguf"):
        scorer.score(ev.Item("Is it?", labels={"true": True, "claimed": "it is"}), "Yes.")


def test_a_stance_is_read_as_the_claims_scorer_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["agrees", "denies", "neither", "", "denies", "agrees"])
    monkeypatch.setattr(LocalJudge, "replies", lambda self, questions, choices: [next(said) for _ in questions])
    scorer = judge.named("stance", LocalJudge("x"))
    false = [ev.Item("Is it?", labels={"true": False, "claimed": "it is"})] * 4
    true = [ev.Item("Is it?", labels={"true": True, "claimed": "it is"})] * 2
    found = ev.scoring.measure.score_all(scorer, false + true, ["text"] * 6)
    assert [one["undecided"] for one in found] == [0, 0, 1, 1, 0, 0]
    assert [one.get("accepts_false") for one in found] == [1, 0, 0, 0, None, None]
    assert [one.get("denies_true") for one in found[4:]] == [1, 0]
    asked = scorer.asked(false[0], "It is indeed.")
    assert "Somebody claims: it is." in asked and asked.index("It is indeed.") < asked.index("Somebody claims")


def test_one_judge_is_kept_loaded() -> None:
    assert local_judge._loaded("organism") is local_judge._loaded("organism")
