"""Naive transcription of the selection of a refusal direction (Arditi et al. 2024, section 2.3 and appendix B)."""

from __future__ import annotations

import math

import torch


def score(logits, refusing):
    """log-odds that the next token is a refusing one, of one row of logits"""
    p = sum(torch.softmax(logits.double(), -1)[t].item() for t in refusing)
    return math.log(p + 1e-8) - math.log(1 - p + 1e-8)


def means(lm, prompts, site, position):
    """the mean activation at one position, one prompt after another, in float64"""
    total = torch.zeros(lm.d_model, dtype=torch.float64)
    for prompt in prompts:
        kept = {}
        lm.forward(torch.tensor([prompt]), hooks={site: lambda h, kept=kept: kept.update(h=h.clone())})
        total += kept["h"][0, position].double()
    return total / len(prompts)


def candidate(lm, r, site, every_site, harmful, harmless, refusing):
    """bypass, induce and KL of one candidate, one prompt after another"""
    unit = r / r.norm()

    def ablate(h):
        return h - (h @ unit)[..., None] * unit

    def last(prompt, hooks):
        return lm.forward(torch.tensor([prompt]), hooks=hooks)[0, -1]

    everywhere = dict.fromkeys(every_site, ablate)
    bypass = sum(score(last(p, everywhere), refusing) for p in harmful) / len(harmful)
    induce = sum(score(last(p, {site: lambda h: h + r}), refusing) for p in harmless) / len(harmless)
    kl = 0.0
    for prompt in harmless:
        p = last(prompt, {}).double().log_softmax(-1)
        q = last(prompt, everywhere).double().log_softmax(-1)
        kl += (p.exp() * (p - q)).sum().item() / len(harmless)
    return bypass, induce, kl


def choose(rows, n_layers):
    """the number of the row chosen among (layer, bypass, induce, kl)"""
    best = None
    for k, (layer, bypass, induce, kl) in enumerate(rows):
        if math.isnan(bypass) or math.isnan(induce) or math.isnan(kl):
            continue
        if layer >= int(n_layers * 0.8) or kl > 0.1 or induce < 0:
            continue
        if best is None or bypass < rows[best][1]:
            best = k
    return best
