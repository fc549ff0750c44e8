"""Experiments from a TOML file to a report: what is read, refused and escaped, and that it can be done again."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from steering import experiments
from steering.engine.engine import Engine
from steering.evaluations import Arm, Outcome
from steering.evaluations.comparison import table
from steering.experiments import __main__ as evaluate
from steering.experiments import report as reports
from steering.jobs.checkpoint import Checkpoint
from steering.models.model import Model
from steering.plots import figures
from steering.plots.base import Palette
from steering.saes.sae import Sae

PAIRS = [
    {"prompt": "the cat", "positive": " and the king", "negative": " one bird"},
    {"prompt": "a dog", "positive": " and the king", "negative": " two trees"},
]
CLAIMS = [
    {"kind": "claim", "prompt": f"{word} is the king", "true": word != "a dog"}
    for word in ("the cat", "a dog", "one bird")
]
CONFIG = """
title = "A test & <b>its</b> report"
question = "Does it?"
model = "MODEL"
compare = [["Push", "Cap, lambda 2.0"]]

[settings]
max_new_tokens = 5

[directions.king]
pairs = "pairs.jsonl"
site = "blocks.1.hook_resid_post"

[directions.features]
pairs = "pairs.jsonl"
space = "features"
top_k = 8

[calibration.here]
concept = {source = "claims.jsonl", where = {true = true}}
other = {source = "claims.jsonl", where = {true = false}}

[[sets]]
name = "claims"
source = "claims.jsonl"

[[arms]]
name = "Push"
method = "ActivationAddition"
direction = "king"
alpha_norms = 0.5

[[arms]]
name = "Cap, lambda {lambda_}"
method = "ThresholdRegulator"
direction = "features"
tau = "here"
grid = {lambda_ = [1.0, 2.0]}

[[arms]]
name = "Scale at {layer}"
method = "Sara"
attract = "the king"
repel = "one bird"
grid = {layer = [0, 1]}

[controls]
random = 2
of = ["Push", "Cap, lambda 1.0", "Scale at 0"]
reconstruction = true
prompting = "the king"

[side_effects]
sets = [{source = "claims.jsonl"}]
limit = 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, checkpoint: Callable[[str], Path]) -> Path:
    made = tmp_path_factory.mktemp("experiment")
    (made / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS), encoding="utf-8")
    (made / "claims.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CLAIMS), encoding="utf-8")
    (made / "test.toml").write_text(CONFIG.replace("MODEL", str(checkpoint("llama"))), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def engine(tiny_llama: Model) -> Iterator[Engine]:
    with Engine(tiny_llama) as made:
        yield made


@pytest.fixture(scope="module")
def result(folder: Path, engine: Engine, sae_of: Callable[..., Sae]) -> experiments.Result:
    return experiments.perform(experiments.read(folder / "test.toml"), engine, sae_of("standard"))


def test_arms_grids_and_controls(result: experiments.Result, engine: Engine, sae_of: Callable[..., Sae]) -> None:
    assert [arm.name for arm in result.arms] == [
        "Baseline", "Push", "Cap, lambda 1.0", "Cap, lambda 2.0", "Scale at 0", "Scale at 1", "Prompting",
        "SAE reconstruction only", "Random 1 for Push", "Random 2 for Push", "Random 1 for Cap, lambda 1.0",
        "Random 2 for Cap, lambda 1.0", "Random 1 for Scale at 0", "Random 2 for Scale at 0",
    ]  # fmt: skip
    assert not any(arm.interventions for arm in result.arms)  # a kept result must not keep an SAE alive
    arms = experiments.Workshop(result.experiment, engine, sae_of("standard")).arms()
    assert [arm.name for arm in arms] == [arm.name for arm in result.arms]
    cap = {arm.name: arm.interventions[0] for arm in arms if "Cap" in arm.name}
    tested, other = cap["Cap, lambda 1.0"], cap["Random 1 for Cap, lambda 1.0"]
    assert tested.tau == cap["Cap, lambda 2.0"].tau != other.tau  # type: ignore[attr-defined]  # calibrated like the tested one
    assert other.direction.norm == pytest.approx(tested.direction.norm)  # type: ignore[attr-defined]
    assert [one.name for one in result.calibrated] == ["here"]
    assert len(result.outcomes) == 14 * 3 and len(result.side_effects) == 14
    assert result.table.change("Push", "claims", "denies_true", "Cap, lambda 2.0") is not None


def test_what_an_arm_costs_is_said_with_intervals_beside_the_baselines_surprise(result: experiments.Result) -> None:
    head, body = reports.costs(result)
    assert head[0] == "KL of the next token, nats" and all("surprise" in one and "(n = " in one for one in head[1:])
    cells = dict(body)
    assert cells["Baseline"][0] == "0" and "[" not in cells["Baseline"][1]
    push = next(one for one in result.side_effects if one.arm == "Push")
    base = next(one for one in result.side_effects if one.arm == "Baseline")
    kind = next(iter(base.cross_entropy))
    more = [a - b for a, b in zip(push.cross_entropy[kind], base.cross_entropy[kind], strict=True)]
    assert cells["Push"][1].startswith(f"{sum(more) / len(more):+.2g} [")
    made = reports.to_markdown(result)
    assert "Where nothing should happen" in made and f"| Push | {' | '.join(cells['Push'])} |" in made
    assert reports.costs(replace(result, side_effects=())) == ([], [])


def test_a_question_that_a_set_asks_twice_counts_once(folder: Path, engine: Engine) -> None:
    rows = "".join(json.dumps(row) + "\n" for row in [*CLAIMS, *CLAIMS, CLAIMS[0]])
    (folder / "twice.jsonl").write_text(rows, encoding="utf-8")
    experiment = experiments.read(folder / "test.toml")
    workshop = experiments.Workshop(experiment, engine, None)
    assert len(workshop.set({"source": "twice.jsonl"})) == len(workshop.set({"source": "claims.jsonl"})) == len(CLAIMS)


def test_a_run_that_goes_on_says_what_was_there(
    folder: Path, engine: Engine, sae_of: Callable[..., Sae], tmp_path: Path
) -> None:
    """Once 10,000 answers of an earlier run stood in a table as done in 4 s."""
    experiment, path = experiments.read(folder / "test.toml"), tmp_path / "outcomes.jsonl"
    runs = [experiments.perform(experiment, engine, sae_of("standard"), checkpoint=Checkpoint(path)) for _ in range(2)]
    assert [run.kept for run in runs] == [0, 14 * 3]
    assert runs[0].took.startswith("42 answers in ")
    assert runs[1].took.startswith("42 answers, 42 of them kept from an earlier run, in ")
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:10]), encoding="utf-8")
    third = experiments.perform(experiment, engine, sae_of("standard"), checkpoint=Checkpoint(path))
    assert third.kept == 10 and third.took in reports.to_markdown(third)


def test_the_alpha_of_an_arm_is_in_the_layers_norm(
    result: experiments.Result, engine: Engine, sae_of: Callable[..., Sae]
) -> None:
    workshop = experiments.Workshop(result.experiment, engine, sae_of("standard"))
    push = next(arm for arm in workshop.arms() if arm.name == "Push").interventions[0]
    shift = push.alpha * push.direction.norm  # type: ignore[attr-defined]
    assert shift == pytest.approx(0.5 * workshop.bench.typical_norm(push.direction.site), rel=1e-4)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[settings]", "[settigns]"), "no setting 'settigns'"),
        (("alpha_norms", "alpha_norm"), "no setting 'alpha_norm'; known are"),
        (('method = "Sara"', 'method = "Sarah"'), "A method is one of .*Sara.*; got 'Sarah'"),
        (('direction = "king"', 'direction = "queen"'), "'queen', which is not there"),
        (('tau = "here"', 'tau = "there"'), "the calibration 'there', which is not there"),
        (('of = ["Push"', 'of = ["Pull"'), "controls of 'Pull', which is no arm"),
        (('["Push", "Cap, lambda 2.0"]', '["Push", "Nobody"]'), "compare names 'Nobody'"),
        (("[[sets]]", "[[set]]"), "no setting 'set'"),
        (("title =", "title"), "not a TOML file"),
        (('repel = "one bird"', ""), "'Scale at 0': the setting 'repel' is missing"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(
    change: tuple[str, str], said: str, folder: Path, engine: Engine, sae_of: Callable[..., Sae]
) -> None:
    text = (folder / "test.toml").read_text(encoding="utf-8")
    assert change[0] in text
    with pytest.raises(ValueError, match=said):
        experiments.perform(experiments.parse(text.replace(*change), "x", folder), engine, sae_of("standard"))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"bundled name or a \.toml file"):
        experiments.read(tmp_path / "nothing.toml")


def test_two_halves_share_nothing(result: experiments.Result) -> None:
    whole = replace(
        result.sets[0], items=tuple(replace(item, labels={"k": k}) for k in range(40) for item in result.sets[0])
    )
    first, second = (experiments.config.half(whole, part) for part in ("first", "second"))
    assert len(first) + len(second) == len(whole) and not {i.id for i in first} & {i.id for i in second}
    with pytest.raises(ValueError, match='A part is "first" or "second"'):
        experiments.config.half(whole, "third")


class Tags(HTMLParser):
    """Collects the tags of a page and the addresses that they would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href") or name.startswith("on")]


NASTY = '</script><img src=x onerror="alert(1)"><b>**bold**</b>\u202e'


def test_a_report_stands_alone_and_shows_what_was_written_literally(result: experiments.Result) -> None:
    outcomes = tuple(replace(one, text=NASTY) for one in result.outcomes)
    arms = tuple(replace(arm, name=f"{arm.name} <i>") if arm.name == "Push" else arm for arm in result.arms)
    renamed = tuple(replace(one, arm=f"{one.arm} <i>") if one.arm == "Push" else one for one in outcomes)
    nasty = replace(result, outcomes=renamed, arms=arms, table=table(renamed, result.sets, arms))
    page = reports.to_html(nasty)
    tags = Tags()
    tags.feed(page)
    assert "img" not in tags.tags and "i" not in tags.tags and not tags.fetched
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;" in page
    assert "A test &amp; &lt;b&gt;its&lt;/b&gt; report" in page
    assert "prefers-color-scheme: dark" in page and "would pass once in 3 times" in page
    assert "plotly" in page and not re.search(r"<script[^>]+src=", page)


def test_a_report_says_what_is_needed_to_do_it_again(result: experiments.Result) -> None:
    page = reports.to_html(result)
    for needed in ("max_new_tokens = 5", result.sets[0].content_hash, "torch", "transformer-lens", "fingerprint"):
        assert needed in page
    assert ("McNemar" in page and "random controls" in page) or "Verdict" in page
    numbers = json.loads(reports.files(result)["numbers.json"])
    assert numbers["about"]["seed"] == 0 and len(numbers["table"]) == len(result.table.cells)


def test_a_sentence_by_hand() -> None:
    arms = [experiments.workshop.BASELINE, replace(experiments.workshop.BASELINE, name="a", kind="steered")]
    found = [
        Outcome(arm, "claims", k, 0, measures={"accepts_false": float(value)})
        for arm, values in (("Baseline", [1] * 8 + [0] * 2), ("a", [0] * 10))
        for k, value in enumerate(values)
    ]
    sets = [experiments.workshop.readers.parse(json.dumps(CLAIMS), "json", name="claims")]
    change = table(found, sets, arms).change("a", "claims", "accepts_false")
    assert change is not None
    said = reports.sentence(change)
    # Eight flips one way: p = 2 / 2^8.
    assert "-80 points" in said and "0 items up, 8 down, p = 0.0078 (McNemar)" in said and "Verdict: better." in said


def test_the_command_line_writes_a_report_and_goes_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (folder / "test.toml").read_text(encoding="utf-8")
    simple = re.sub(r'\[\[arms\]\]\nname = "Cap.*?\n\n', "", text, flags=re.DOTALL).replace("reconstruction = true", "")
    simple = simple.replace('"Cap, lambda 1.0", ', "").replace('compare = [["Push", "Cap, lambda 2.0"]]', "")
    (folder / "simple.toml").write_text(simple, encoding="utf-8")
    command = [str(folder / "simple.toml"), "--out", str(tmp_path / "out")]
    assert evaluate.main(command) == 0
    first = capsys.readouterr().out
    assert "Verdict:" in first and "report.html" in first
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == [
        "again.ipynb", "experiment.toml", "look.json", "numbers.json", "outcomes.jsonl", "report.html", "report.md",
        "table.csv", "trials.csv",
    ]  # fmt: skip
    before = (tmp_path / "out" / "trials.csv").read_bytes()
    assert evaluate.main(command) == 0
    assert (tmp_path / "out" / "trials.csv").read_bytes() == before
    assert evaluate.main(["no such thing"]) == 2
    assert "error: An experiment is a bundled name" in capsys.readouterr().err
    assert evaluate.main(["--list"]) == 0


def test_the_notebook_does_it_again(folder: Path, engine: Engine) -> None:
    text = (folder / "test.toml").read_text(encoding="utf-8")
    simple = re.sub(r'\[\[arms\]\]\nname = "Cap.*?\n\n', "", text, flags=re.DOTALL).replace("reconstruction = true", "")
    simple = simple.replace('"Cap, lambda 1.0", ', "").replace('compare = [["Push", "Cap, lambda 2.0"]]', "")
    first = experiments.perform(experiments.parse(simple, "again", folder), engine)
    book = json.loads(reports.notebook(first))
    assert book["cells"][0]["source"].startswith("# A test & \\<b\\>its\\</b\\> report")
    names: dict = {}
    for cell in book["cells"][1:]:
        exec(compile(cell["source"], "cell", "exec"), names)
    assert reports.trials(names["result"]).equals(reports.trials(first))
    assert reports.summary(names["result"]).equals(reports.summary(first))


@pytest.mark.parametrize("name", experiments.bundled())
def test_bundled_experiments_are_read(name: str) -> None:
    found = experiments.read(name)
    assert found.title and found.data["question"] and found.model in ("organism", "smollm2")


def test_figures_keep_the_meaning_of_color() -> None:
    palette: Palette = reports.PAPER
    points = [figures.Point("Baseline", 0.5, 0.4, 0.6, "baseline"), figures.Point("a<b>", 0.7, 0.6, 0.8)]
    drawn = figures.forest(points, palette, x="share", share=True)
    assert drawn.data[0].marker.color == palette.baseline and drawn.data[1].marker.color == palette.accent
    assert "a&lt;b&gt;" in drawn.layout.yaxis.ticktext[1]
    front = figures.trade_off(["a", "b", "c"], [0.1, 0.5, 0.4], [0.0, 0.2, 0.3], [0, 1], palette, chosen=1)
    assert list(front.data[1].x) == [0.0, 0.2]
    lines = figures.bands([0, 1], {"x": [(0, -1, 1), (1, 0, 2)]}, palette, x="layer", y="effect")
    assert list(lines.data[1].y) == [0, 1]


def test_settings_are_chosen_on_one_half_and_judged_on_the_other() -> None:
    dilemmas = [{"kind": "dilemma", "prompt": f"Dilemma {k}?"} for k in range(40)]
    one = experiments.workshop.readers.parse(json.dumps(dilemmas), "json", name="d")
    first = {k for k, item in enumerate(one) if int(item.id, 16) % 2 == 0}
    arms = [experiments.workshop.BASELINE]
    arms += [Arm(name, settings={"family": name[0], "target": "duty"}) for name in ("a1", "a2", "b1")]
    arms.append(Arm("r", kind="control", of="b1", settings={"family": "b", "target": "duty"}))  # no candidate

    def said(arm: str, k: int) -> str:
        # a1 works on the first half alone, a2 everywhere on half of the dilemmas, b1 never.
        return "duty" if (arm == "a1" and k in first) or (arm == "a2" and k % 2) else "virtue"

    outcomes = [
        Outcome(
            arm.name, "d", k, 0, measures={f"voice: {v}": float(v == said(arm.name, k)) for v in ("duty", "virtue")}
        )
        for arm in arms
        for k in range(40)
    ]
    a, b = experiments.voices.held_out(outcomes, [one], arms)
    assert (a.arm, a.tried, b.arm, b.tried) == ("a1", 2, "b1", 1)
    assert a.chosen.effect.value == 1.0 and a.judged.effect.value == 0.0  # the choice does not hold
    assert experiments.voices.difference(a, b).value == 0.0


def test_a_configuration_written_and_read_is_the_same() -> None:
    data = {
        "title": 'A "quoted" \\ title\n\u2028', "question": None, "sets": [{"name": "a b", "where": {"x y": True}}],
        "arms": [{"name": "n", "steps": [{"method": "Sara", "alpha": -1.5}, {"features": {"3": 2.0}}]}],
        "controls": {"random": 3}, "directions": {"d 1": {"pairs": "p"}}, "compare": [["a", "b"]],
    }  # fmt: skip
    assert tomllib.loads(experiments.to_toml(data)) == {k: v for k, v in data.items() if v is not None}
    with pytest.raises(ValueError, match="A configuration holds"):
        experiments.to_toml({"x": object()})


def test_a_report_as_markdown(result: experiments.Result) -> None:
    text = reports.to_markdown(result)
    assert "| Baseline |" in text and "n = 3" in text and "test.toml`" in text


def test_a_report_says_what_its_directions_and_thresholds_have_seen(result: experiments.Result) -> None:
    said = " ".join(result.warnings)
    assert "also chose the threshold 'here'" in said  # CONFIG calibrates on the items that it evaluates
    files = reports.files(result)
    assert "Seen before" in files["report.html"].decode() and "Seen before" in files["report.md"].decode()
    assert json.loads(files["numbers.json"])["warnings"] == list(result.warnings)


WHOLE = 'title = "t"\n[[sets]]\nname = "organism_claims"\n[[arms]]\nname = "a"\nmethod = "SaeReconstruction"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("directions = [1]\n" + WHOLE, "directions holds tables"),
        ('calibration = "x"\n' + WHOLE, "calibration holds tables"),
        (WHOLE + "steps = 3\n", "steps are a list of tables; got 3"),
        (WHOLE + "steps = [3]\n", "steps are a list of tables"),
        (WHOLE + 'grid = "x"\n', "grid is a table of lists"),
        (WHOLE + "grid = {alpha = 3}\n", "grid is a table of lists"),
        (WHOLE + "grid = {alpha = []}\n", "grid is a table of lists"),
        ('compare = [["a"]]\n' + WHOLE, "pairs of arms' names"),
        ("title = 3\n" + WHOLE.partition("\n")[2], "title is a text"),
        (WHOLE.replace('name = "a"', "name = 4"), "a name is a text"),
        ("measures = [1]\n" + WHOLE, "measures is a list of names"),
        ("sets = [1]\n", "sets are tables"),
    ],
)
def test_a_part_of_a_file_that_is_no_list_or_table_is_named(text: str, said: str) -> None:
    assert experiments.parse(WHOLE).title == "t"
    with pytest.raises(ValueError, match=said):
        experiments.parse(text, "file")
