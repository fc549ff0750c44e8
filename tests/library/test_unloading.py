"""Unloading frees: a model or an SAE that was taken off the shelf is collected, whoever still holds what came of it."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from steered_rows import direction

from steering.checkpoints.memory import shape_of_folder
from steering.directions.direction import Direction
from steering.engine.engine import Engine
from steering.engine.requests import Request
from steering.evaluations import BASELINE, Arm, EvaluationSet, Item, Settings, scorer
from steering.evaluations.sweeps import Grid, sweep
from steering.interventions import ActivationAddition, FeatureClamp, ThresholdRegulator
from steering.jobs.jobs import Jobs
from steering.library import shelf as shelves
from steering.library.shelf import Shelf
from steering.models.loading import load_model
from steering.recipes.sources import Source
from steering.saes.sae import Sae

SHORT = {"max_new_tokens": 4, "ignore_eos": True}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "GRACE", 0.0)
    monkeypatch.setattr(shelves, "PATIENCE", 0.2)


def collected(*references: weakref.ref) -> bool:
    """Whether all are collected, now or soon: a thread drops its references a moment after handing over its result."""
    for _ in range(200):
        gc.collect()
        if all(one() is None for one in references):
            return True
        threading.Event().wait(0.05)
    return False


def steer(engine: Engine, sae: Sae) -> list[object]:
    """What a tab may hold of steering with an SAE: completions, scores, receipts, a check."""
    feature = Direction(
        sae.W_dec.new_zeros(sae.d_sae).index_fill(0, sae.W_dec.new_zeros(1).long(), 1.0), sae.site, sae=sae
    )
    variants = [(), (FeatureClamp(sae, {3: 4.0}),), (ThresholdRegulator(feature, 0.0, 2.0),)]
    done = engine.generate("The cat", variants, record=[feature], **SHORT)
    streamed = engine.submit(Request("The dog", variants[1], **SHORT))
    held: list[object] = [done, streamed, "".join(streamed), engine.check(done[1])]
    return [*held, engine.score_with_receipts([("The cat", " sat", variant) for variant in variants])]


def test_an_sae_is_collected_whatever_came_of_it(
    checkpoint: Callable[[str], Path], sae_folder: Callable[..., Path]
) -> None:
    """Remembered rows, completions that a tab holds, jobs that are kept, a workbench: none of them keeps it alive."""
    name, choice = str(checkpoint("llama")), (str(sae_folder("standard")), "")
    shelf, jobs = Shelf(), Jobs()
    sae = shelf.sae(name, *choice)
    engine, found = shelf.engine(name), weakref.ref(sae)
    tab = steer(engine, sae)
    shelf.workbench(name, choice).direction(Source("texts", positive="the cat", negative="the dog", space="feature"))
    options = EvaluationSet((Item("the cat", options=(" a", " b"), matching=(0,)),), scorer("forced_choice"), "set")

    def study(job: object, sae: Sae = sae) -> object:
        return sweep(
            engine, lambda alpha: (FeatureClamp(sae, {3: alpha}),), Grid({"alpha": [1.0]}), [options], Settings()
        )

    def failing(job: object, sae: Sae = sae) -> None:
        held = FeatureClamp(sae, {3: 1.0})
        raise RuntimeError(str(held))

    kept = [jobs.start("study", study), jobs.start("fails", failing)]
    assert [arm.interventions for arm in kept[0].result(60).arms] == [(), ()]
    with pytest.raises(RuntimeError):
        kept[1].result(60)
    jobs.start("last", lambda job: None).result(60)  # the worker has dropped the work before
    del sae, study, failing
    with shelf._lock:
        gone = [shelf._take_off(shelves._sae_key(name, choice))]
    shelf._end(gone)
    assert collected(found), "something still holds the SAE"
    assert tab and engine.generate("The cat", **SHORT)[0].done
    with pytest.raises(ValueError, match="does not know that completion any more"):
        engine.check(tab[0][1])  # type: ignore[index]
    jobs.close()
    shelf.close()


def test_a_model_is_collected_whatever_came_of_it(
    checkpoint: Callable[[str], Path], sae_folder: Callable[..., Path]
) -> None:
    """Even where a tab still holds its engine, which is closed."""
    names = [str(checkpoint(family)) for family in ("llama", "gpt2")]
    weights = (sae_folder("standard") / "sae_weights.safetensors").stat().st_size
    shelf = Shelf(max(shape_of_folder(Path(name)).needs("float32") for name in names) + weights + 1)
    sae = shelf.sae(names[0], str(sae_folder("standard")), "")
    engine, found = shelf.engine(names[0]), [weakref.ref(shelf.model(names[0])), weakref.ref(sae)]
    tab = steer(engine, sae)
    del sae
    shelf.model(names[1])
    assert not shelf.has(names[0])
    assert collected(*found), "something still holds what was unloaded"
    for ask in (lambda: engine.model, lambda: engine.submit(Request("Hello"))):
        with pytest.raises(ValueError, match="This engine is closed"):
            ask()
    assert tab[0][1].text  # type: ignore[index]
    shelf.close()


def test_an_engine_that_is_dropped_ends_its_thread_and_frees_its_model(checkpoint: Callable[[str], Path]) -> None:
    engine = Engine(load_model(checkpoint("llama"), device="cpu", threads=1))
    done = engine.generate("The cat", [(), (ActivationAddition(direction()),)], **SHORT)
    found, thread = weakref.ref(engine.model), engine._thread
    assert thread.is_alive()
    del engine
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()
    assert collected(found) and done[1].receipts[0].agrees


def test_an_engine_that_is_dropped_still_does_what_it_was_asked(checkpoint: Callable[[str], Path]) -> None:
    lm = load_model(checkpoint("llama"), device="cpu", threads=1)
    handle = Engine(lm).submit(Request("The cat", max_new_tokens=20, ignore_eos=True))
    gc.collect()
    assert len(handle.result(60).tokens) == 20
    assert Engine(lm).call(threading.current_thread).name.startswith("engine:")


def test_a_kept_result_has_arms_without_interventions() -> None:
    arm = Arm("Pushed", (ActivationAddition(direction()),), settings={"alpha": 1})
    assert arm.bare().interventions == () and arm.bare().settings == {"alpha": 1} and BASELINE.bare().name == "Baseline"
