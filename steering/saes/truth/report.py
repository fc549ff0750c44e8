"""What an experiment with known features found, as tables in Markdown and as data for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .polysemy import CodeMeasures, NeuronCode
from .trial import by

Cell = tuple[float, float, float]


def shown(cell: Cell, digits: int = 3) -> str:
    """A mean with its interval."""
    return "-" if cell[0] != cell[0] else f"{cell[0]:.{digits}f} [{cell[1]:.{digits}f}, {cell[2]:.{digits}f}]"


def losses_table(rows: Sequence[Mapping[str, Any]], measures: Sequence[tuple[str, str]]) -> str:
    """A row for each loss and wanted L0, a column for each measure (its name, and what it is called)."""
    lines = ["| loss | wanted L0 |" + "".join(f" {title} |" for _, title in measures),
             "| --- | --- |" + " --- |" * len(measures)]  # fmt: skip
    for (loss, wanted), found in by(rows, "loss", "wanted").items():
        lines.append(f"| {loss} | {wanted:g} |" + "".join(f" {shown(found[name])} |" for name, _ in measures))
    return "\n".join(lines)


MUTUAL = (
    ("variance", "variance"), ("found", "true features found"), ("true", "features that are true"),
    ("stable", "stable features"), ("true_if_stable", "true, if stable"), ("true_if_not", "true, if not"),
)  # fmt: skip


def mutual_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row for each weight of the mutual regularization, and for how it differs from the first, seed by seed."""
    lines = ["| weight |" + "".join(f" {title} |" for _, title in MUTUAL), "| --- |" + " --- |" * len(MUTUAL)]
    first = {row["seed"]: row for row in rows if row["mutual"] == rows[0]["mutual"]}
    changes = [{**row, **{name: row[name] - first[row["seed"]][name] for name, _ in MUTUAL}} for row in rows]
    for some, said in ((rows, "{:g}"), (changes, f"{{:g}} less {rows[0]['mutual']:g}")):
        for (weight,), found in by(some, "mutual").items():
            if some is rows or weight != rows[0]["mutual"]:
                lines.append(f"| {said.format(weight)} |" + "".join(f" {shown(found[name])} |" for name, _ in MUTUAL))
    return "\n".join(lines)


def codes_table(measured: Sequence[tuple[NeuronCode, CodeMeasures]]) -> str:
    """A row for each code: what is seen of it, and what its features are told from superposition by."""
    lines = [
        "| code | features, dimensions | a neuron answers to | neuron alignment | decoder interference | read by a "
        "linear probe, 1 to 4 at once | by its own reader |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for code, found in measured:
        shares = (" ".join(f"{share:.0%}" for share in some) for some in (found.linear, found.own))
        lines.append(
            f"| {code.name} | {code.features}, {found.rank} | {found.answers:.1f} | {found.alignment.mean():.2f} | "
            f"{found.interference.mean():.2f} | " + " | ".join(shares) + " |"
        )
    return "\n".join(lines)


def curves_of(rows: Sequence[Mapping[str, Any]], measure: str) -> dict[str, list[tuple[float, float, float, float]]]:
    """For each loss its points (L0 reached, mean, low, high) for `plots.training.pareto`."""
    curves: dict[str, list[tuple[float, float, float, float]]] = {}
    for (loss, _), found in by(rows, "loss", "wanted").items():
        curves.setdefault(loss, []).append((found["l0"][0], *found[measure]))
    return curves
