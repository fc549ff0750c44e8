"""Tiller: steer a language model while it writes, and see, with controls, whether the steering did what it claims.

The story in a few lines:

    import steering as t

    lm = t.load_model("organism")                             # models.py: the model, its tokens, its sites
    sae = t.load_sae(lm, "organism", "blocks.3.hook_resid_post")
    site = t.Site(3, "resid_post")                            # sites.py: a layer and a stream
    v = t.mean_difference(lm, t.PairSet.load("sycophancy"), site, sae=sae)    # directions.py: pairs -> direction
    regulator = t.ThresholdRegulator(v, tau=10.0, lambda_=3.0)                # interventions/: what is done
    with t.Engine(lm) as engine:                              # engine.py: one batch, one thread, receipts
        plain, steered = engine.generate(t.chat("Is 7 plus 5 equal to 13?"), [(), (regulator,)], record=[site])
    print(steered.text, steered.receipts)

Read on in sites -> models -> directions -> interventions/protocol -> interventions/edits -> plan -> decoding -> engine.
"""

import os

# Must be set before torch starts its threads: they spin at barriers otherwise, and one other busy process on the
# machine then makes a small model a hundred times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from .directions.contrasts import lda, mean_difference, pca, probe
from .directions.direction import Direction, random_like
from .directions.pairs import PairSet, PromptPair
from .engine.engine import Completion, Engine
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
from .models.chat import chat
from .models.loading import load_model
from .models.model import Model
from .saes.sae import Sae, load_sae
from .sites import Site

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
    "FeatureAblation",
    "FeatureAddition",
    "FeatureClamp",
    "Intervention",
    "Model",
    "PairSet",
    "PromptPair",
    "Receipt",
    "Request",
    "Sae",
    "SaeAblation",
    "SaeReconstruction",
    "Sara",
    "Site",
    "ThresholdRegulator",
    "chat",
    "lda",
    "load_model",
    "load_sae",
    "mean_difference",
    "orthogonalize_weights",
    "pca",
    "probe",
    "random_like",
]
