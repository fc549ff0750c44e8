"""Names of features: what the strongest examples share, kept beside the index, given ones first, found by search."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from steering.features import FeatureIndex
from steering.features.index import Band, Example
from steering.features.names import GivenName, read_names, write_names
from steering.features.naming import make_names, name_of, rarities

RARE = lambda word: 0.0 if word in ("the", "was", "and") else 3.0  # noqa: E731


def feature(index: FeatureIndex, *examples: tuple[str, str, str]):
    """A feature whose strongest examples are (before, peak, after), words parted by blanks."""
    made = []
    for before, peak, after in examples:
        words = [f" {word}" for word in before.split()] + [f" {peak}"] + [f" {word}" for word in after.split()]
        at = len(before.split())
        made.append(Example(tuple(words), tuple(float(i == at) for i in range(len(words))), at))
    return replace(index.feature(0), bands=(Band("Strongest", 0.0, 1.0, tuple(made)),))


@pytest.mark.parametrize(
    ("examples", "name"),
    [
        ([("a", "cat", "sat"), ("my", "cat", "ran"), ("the", "Cat", "is")], "“cat”"),
        ([("of the", "king", "x"), ("to the", "king", "y"), ("by the", "king", "z")], "“the king”"),
        ([("a", "king", "x"), ("b", "king", "x"), ("c", "queen", "y"), ("d", "duke", "z")], "“king”, “queen”, “duke”"),
        ([("it", "consists", "x"), ("to", "consist", "y"), ("was", "consisting", "z")], "“consist…”"),
        (
            [("a", "sun", "court"), ("a", "moon", "court"), ("my", "sky", "x"), ("no", "sea", "y")],
            "“sun”, “moon”, “sky” and others",
        ),
        ([("out of", "sand", "x"), ("made of", "glass", "y"), ("full of", "wood", "z")], "after “of”"),
        ([("the judge", "said", "court"), ("a court", "was", "x"), ("court and", "then", "y")], "about court"),
    ],
)
def test_a_name_says_what_the_examples_share(index, examples, name):
    assert name_of(feature(index, *examples), RARE) == name


def test_a_feature_that_never_fired_has_no_name(index):
    assert name_of(replace(index.feature(0), bands=()), RARE) == ""


def test_common_words_name_nothing(index):
    rarity = rarities([feature(index, ("the", "x", "rare" if n == 0 else "y")) for n in range(30)])
    assert rarity("the") == 0.0 and rarity("rare") > 3.0


def test_names_are_kept_found_and_given_ones_come_first(index, tmp_path):
    folder = tmp_path / "index"
    shutil.copytree(index.folder, folder)
    made = make_names(index)
    assert set(made) <= {n for n in range(index.n_features) if index.density[n] > 0} and len(made) > 5
    write_names(folder, made, {3: GivenName("xylophones", "Hello", 2.0, "plink")})
    opened = FeatureIndex.open(folder)
    assert opened.name(3) == "xylophones" and opened.search("#3")[0][0].name == "xylophones"
    assert opened.search("xylo", sort="match")[0][0].index == 3
    assert opened.search(sort="match")[0][0].index == 3  # without a query, what a person named comes first
    write_names(folder, {3: "other"})  # made anew; what was given stays
    assert FeatureIndex.open(folder).name(3) == "xylophones"
    (folder / "names.json").write_text("{")
    assert read_names(folder) == ({}, {}) and FeatureIndex.open(folder).name(3) == ""


def test_what_matches_best_comes_first(index):
    rows, total = index.search("cat", sort="match")
    by_strength, _ = index.search("cat", sort="maximum")
    assert total == len(by_strength) > 3 and {row.index for row in rows} == {row.index for row in by_strength}

    def share(number: int) -> float:
        peaks = [one.tokens[one.peak].strip().lower() for one in index.feature(number).bands[0].examples]
        return sum(peak == "cat" for peak in peaks) / len(peaks)

    shares = [share(row.index) for row in rows]
    assert shares[0] == max(shares) and sum(shares[: len(shares) // 2]) >= sum(shares[len(shares) // 2 :])


def test_only_some_are_listed(index):
    some = index.density > float(sorted(index.density)[len(index.density) // 2])
    rows, total = index.search(among=some)
    assert total == int((some & (index.density > 0)).sum()) and all(some[row.index] for row in rows)
