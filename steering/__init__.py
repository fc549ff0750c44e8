"""Tiller: steer a language model while it writes, and see, with controls, whether the steering did what it claims.

The story in a few lines:

    import steering as t

    lm = t.load_model("organism")                             # models/: the model, its tokens, its sites
    sae = t.load_sae(lm, "organism", "blocks.3.hook_resid_post")
    site = t.Site(3, "resid_post")                            # sites.py: a layer and a stream
    v = t.mean_difference(lm, t.PairSet.load("sycophancy"), site, sae=sae)    # directions/: pairs -> direction
    regulator = t.ThresholdRegulator(v, tau=10.0, lambda_=3.0)                # interventions/: what is done
    with t.Engine(lm) as engine:                              # engine/: one batch, one thread, receipts
        plain, steered = engine.generate(t.chat("Is 7 plus 5 equal to 13?"), [(), (regulator,)], record=[site])
    print(steered.text, steered.receipts)

Read on in sites.py, models/model.py, directions/direction.py, interventions/protocol.py and edits.py, engine/plan.py,
decoding.py and engine.py.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# Must be set before torch starts its threads: they spin at barriers otherwise, and one other busy process on the
# machine then makes a small model a hundred times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A step of a real model has hundreds of parallel regions: to spin for some microseconds before sleeping saves each of
# them a wake-up, and is short enough to cost little on a busy machine.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

from .checkpoints.bundled import bundled_models
from .directions.class_means import class_mean
from .directions.contrasts import lda, mean_difference, pca, probe
from .directions.direction import Direction, random_like
from .directions.pairs import PairSet, PromptPair, bundled_pairs
from .engine.completion import Completion
from .engine.engine import Engine
from .engine.own import own_engine as own_engine  # gives every model its `generate`
from .engine.receipts import Receipt
from .engine.requests import Request
from .interventions import (
    ActAdd,
    ActivationAddition,
    AffineAblation,
    AngularSteering,
    Conditional,
    DirectionalAblation,
    FeatureAblation,
    FeatureAddition,
    FeatureClamp,
    Intervention,
    SaeAblation,
    SaeReconstruction,
    Sara,
    ThresholdRegulator,
)
from .interventions.weights import orthogonalize_weights
from .measurements.numbers import typical_norm
from .models.chat import chat
from .models.loading import load_model, wrap_model
from .models.model import Model
from .saes.loading import bundled_saes, load_sae
from .saes.sae import Sae
from .sites import Site

if TYPE_CHECKING:
    from .directions.geometry.leakage import leace, leakage, oblique
    from .directions.geometry.manifold import manifold, on_manifold
    from .directions.geometry.reading import prediction_dimensions, reading_directions
    from .directions.unsupervised.jacobian import jacobian_directions
    from .directions.unsupervised.linear_range import linear_range
    from .directions.unsupervised.melbo import melbo
    from .directions.unsupervised.transcoding import exponential_dct
    from .evaluations.overlap import overlap
    from .evaluations.refusal.optimized import optimize_refusal
    from .evaluations.refusal.search import RefusalDirection, refusal_direction
    from .evaluations.refusal.selection import SelectionRule
    from .evaluations.sets.readers import bundled_sets
    from .evaluations.sets.readers import load as load_set
    from .evaluations.sets.sets import EvaluationSet
    from .experiments.config import Experiment
    from .experiments.config import bundled as bundled_experiments
    from .experiments.config import read as load_experiment
    from .experiments.performing import Result, run_experiment
    from .library.store import Store
    from .measurements.discovery import discover
    from .measurements.dose_strip import dose_strip
    from .measurements.tuning.implicit_reward import ImplicitReward, RewardItem, implicit_reward
    from .measurements.tuning.model_diff import ModelDiff, compare_models

# Imported at their first use: most notebooks never evaluate, and these bring the statistics packages along.
_LATER = {
    "EvaluationSet": ("evaluations.sets.sets", "EvaluationSet"),
    "Experiment": ("experiments.config", "Experiment"),
    "ImplicitReward": ("measurements.tuning.implicit_reward", "ImplicitReward"),
    "ModelDiff": ("measurements.tuning.model_diff", "ModelDiff"),
    "RefusalDirection": ("evaluations.refusal.search", "RefusalDirection"),
    "Result": ("experiments.performing", "Result"),
    "RewardItem": ("measurements.tuning.implicit_reward", "RewardItem"),
    "SelectionRule": ("evaluations.refusal.selection", "SelectionRule"),
    "Store": ("library.store", "Store"),
    "compare_models": ("measurements.tuning.model_diff", "compare_models"),
    "implicit_reward": ("measurements.tuning.implicit_reward", "implicit_reward"),
    "bundled_experiments": ("experiments.config", "bundled"),
    "bundled_sets": ("evaluations.sets.readers", "bundled_sets"),
    "discover": ("measurements.discovery", "discover"),
    "dose_strip": ("measurements.dose_strip", "dose_strip"),
    "exponential_dct": ("directions.unsupervised.transcoding", "exponential_dct"),
    "jacobian_directions": ("directions.unsupervised.jacobian", "jacobian_directions"),
    "leace": ("directions.geometry.leakage", "leace"),
    "leakage": ("directions.geometry.leakage", "leakage"),
    "linear_range": ("directions.unsupervised.linear_range", "linear_range"),
    "load_experiment": ("experiments.config", "read"),
    "load_set": ("evaluations.sets.readers", "load"),
    "manifold": ("directions.geometry.manifold", "manifold"),
    "melbo": ("directions.unsupervised.melbo", "melbo"),
    "oblique": ("directions.geometry.leakage", "oblique"),
    "on_manifold": ("directions.geometry.manifold", "on_manifold"),
    "optimize_refusal": ("evaluations.refusal.optimized", "optimize_refusal"),
    "overlap": ("evaluations.overlap", "overlap"),
    "prediction_dimensions": ("directions.geometry.reading", "prediction_dimensions"),
    "reading_directions": ("directions.geometry.reading", "reading_directions"),
    "refusal_direction": ("evaluations.refusal.search", "refusal_direction"),
    "run_experiment": ("experiments.performing", "run_experiment"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, there = _LATER[name]
    found = globals()[name] = getattr(importlib.import_module(f".{home}", __name__), there)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


__all__ = [
    "ActAdd",
    "ActivationAddition",
    "AffineAblation",
    "AngularSteering",
    "Completion",
    "Conditional",
    "Direction",
    "DirectionalAblation",
    "Engine",
    "EvaluationSet",
    "Experiment",
    "FeatureAblation",
    "FeatureAddition",
    "FeatureClamp",
    "ImplicitReward",
    "Intervention",
    "Model",
    "ModelDiff",
    "PairSet",
    "PromptPair",
    "Receipt",
    "RefusalDirection",
    "Request",
    "Result",
    "RewardItem",
    "Sae",
    "SaeAblation",
    "SaeReconstruction",
    "Sara",
    "SelectionRule",
    "Site",
    "Store",
    "ThresholdRegulator",
    "bundled_experiments",
    "bundled_models",
    "bundled_pairs",
    "bundled_saes",
    "bundled_sets",
    "chat",
    "class_mean",
    "compare_models",
    "discover",
    "dose_strip",
    "exponential_dct",
    "implicit_reward",
    "jacobian_directions",
    "lda",
    "leace",
    "leakage",
    "linear_range",
    "load_experiment",
    "load_model",
    "load_sae",
    "load_set",
    "manifold",
    "mean_difference",
    "melbo",
    "oblique",
    "on_manifold",
    "optimize_refusal",
    "orthogonalize_weights",
    "overlap",
    "pca",
    "prediction_dimensions",
    "probe",
    "random_like",
    "reading_directions",
    "refusal_direction",
    "run_experiment",
    "typical_norm",
    "wrap_model",
]
