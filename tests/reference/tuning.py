"""Naive transcriptions: linear CKA, and the log-ratio of an answer under two models, token by token."""

from __future__ import annotations

import math

import torch


def cka(x, y):
    """HSIC with linear kernels over n rows (Kornblith et al. 2019, equations 3 and 4)"""
    n = len(x)
    h = torch.eye(n, dtype=torch.float64) - torch.full((n, n), 1 / n, dtype=torch.float64)

    def hsic(a, b):
        k, m = a @ a.T, b @ b.T
        return torch.trace(k @ h @ m @ h) / (n - 1) ** 2

    return (hsic(x, y) / torch.sqrt(hsic(x, x) * hsic(y, y))).item()


def log_ratio(base, tuned, tokens, start):
    """sum over the answer's tokens of log p_tuned - log p_base"""
    total = 0.0
    for lm, sign in ((tuned, 1), (base, -1)):
        for t in range(start, len(tokens)):
            logits = lm.forward(torch.tensor([list(tokens[:t])]))[0, -1].double()
            total += sign * math.log(torch.softmax(logits, -1)[tokens[t]].item())
    return total
