"""Nucleus sampling as its paper writes it (Holtzman et al. 2019, arXiv 1904.09751), with plain lists."""


def nucleus(probabilities: list[float], top_p: float) -> dict[int, float]:
    """The smallest set of most probable tokens that reaches top_p, renormalized."""
    kept: dict[int, float] = {}
    for token in sorted(range(len(probabilities)), key=lambda i: -probabilities[i]):
        kept[token] = probabilities[token]
        if sum(kept.values()) >= top_p:
            break
    total = sum(kept.values())
    return {token: p / total for token, p in kept.items()}
