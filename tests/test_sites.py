"""Site <-> hook name, both ways; order; and the error of a wrong name."""

import itertools

import pytest

from steering.sites import STREAMS, Site


def test_name_and_site_are_the_same_thing() -> None:
    for layer, stream in itertools.product((0, 3, 17), STREAMS):
        site = Site(layer, stream)
        assert str(site) == f"blocks.{layer}.hook_{stream}"
        assert Site.parse(str(site)) == site
        assert Site.parse(site) is site


def test_canonical_names_of_the_bridge_are_understood() -> None:
    assert Site.parse("blocks.2.hook_in") == Site(2, "resid_pre")
    assert Site.parse("blocks.2.hook_out") == Site(2, "resid_post")


def test_places_inside_a_part_have_the_names_of_the_bridge() -> None:
    for site, name in ((Site(2, "attn_z"), "blocks.2.attn.hook_z"), (Site(2, "mlp_in"), "blocks.2.mlp.hook_in")):
        assert str(site) == name and Site.parse(name) == site
    assert Site(2) > Site(2, "mlp_in") > Site(2, "resid_mid") > Site(2, "attn_out") > Site(2, "attn_z")
    with pytest.raises(ValueError, match=r"Write blocks.2.hook_resid_mid or blocks.2.mlp.hook_in"):
        Site.parse("blocks.2.hook_mlp_in")


def test_sites_sort_as_a_forward_pass_meets_them() -> None:
    in_order = [Site(layer, stream) for layer in range(12) for stream in STREAMS]
    shuffled = in_order[7:] + in_order[:7]
    assert sorted(shuffled) == in_order  # by number: layer 10 after layer 9


def test_a_site_is_a_value() -> None:
    assert len({Site(1), Site(1, "resid_post"), Site.parse("blocks.1.hook_resid_post")}) == 1


@pytest.mark.parametrize("layer", [-1, 1.0, "1", True, None])
def test_a_layer_is_a_block_number(layer: object) -> None:
    with pytest.raises(ValueError, match="0-based number of a block"):
        Site(layer)  # type: ignore[arg-type]


def test_an_unknown_stream_lists_the_near_ones() -> None:
    with pytest.raises(ValueError, match="Did you mean .*resid_post"):
        Site(0, "resid_psot")


@pytest.mark.parametrize(
    "name", ["", "resid_post", "blocks.x.hook_resid_post", "blocks.-1.hook_resid_post", "blocks.1"]
)
def test_what_is_no_hook_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="hook name"):
        Site.parse(name)


def test_a_hook_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="A stream is one of"):
        Site.parse("blocks.1.hook_pattern")
