"""Verdicts: what counts as agreement, for every kind of claim, and that nothing missing or NaN ever passes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_validation.claims.table import llm_checks
from theory.claim import Check, at_most, combine, equal, greater, grid, parse_setting, setting_key, verdict
from theory.claims import CLAIMS, find_claim


def check(kind, resolution=0.01, relative=False):
    return Check("name", "quantity", kind, (), 1.0, resolution, "test", relative)


@pytest.mark.parametrize(
    ("kind", "estimate", "stderr", "expected"),
    [
        ("equality", 1.005, 0.0, "agrees"),
        ("equality", 1.02, 0.0, "disagrees"),
        ("equality", 1.02, 0.006, "agrees"),  # within four standard errors, and the error is below the resolution
        ("equality", 1.02, 0.02, "inconclusive"),  # too noisy to notice the error one fears
        ("equality", 1.2, 0.02, "disagrees"),
        ("equality", math.nan, 0.0, "inconclusive"),
        ("equality", 1.0, math.nan, "inconclusive"),
        ("rate", 1.0, 0.02, "inconclusive"),
        ("upper bound", 0.9, 0.01, "agrees"),
        ("upper bound", 1.005, 0.0, "agrees"),
        ("upper bound", 1.02, 0.0, "disagrees"),
        ("upper bound", 0.99, 0.02, "inconclusive"),
        ("lower bound", 1.1, 0.01, "agrees"),
        ("lower bound", 0.98, 0.0, "disagrees"),
        ("lower bound", math.inf, 0.0, "agrees"),
        ("upper bound", math.inf, 0.0, "disagrees"),
        ("ordering", 1.1, 0.01, "agrees"),
        ("ordering", 0.9, 0.01, "disagrees"),
        ("ordering", 1.0, 0.0, "disagrees"),  # equal is not greater
        ("ordering", 1.01, 0.01, "inconclusive"),
    ],
)
def test_verdicts(kind, estimate, stderr, expected):
    assert verdict(check(kind), 1.0, estimate, stderr) == expected


def test_relative_resolution_scales_with_the_prediction():
    assert verdict(check("equality", 0.01, relative=True), 1000.0, 1005.0, 0.0) == "agrees"
    assert verdict(check("equality", 0.01), 1000.0, 1005.0, 0.0) == "disagrees"


def test_one_bad_setting_decides():
    assert combine(["agrees", "disagrees", "not run"]) == "disagrees"
    assert combine(["agrees", "inconclusive", "not run"]) == "inconclusive"
    assert combine(["agrees", "not run"]) == "not run"
    assert combine(["agrees"]) == "agrees"
    assert combine([]) == "not run"


@given(
    st.dictionaries(
        st.text("abcdefgh_", min_size=1, max_size=8),
        st.one_of(st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9), st.sampled_from(["x", "sushi10.csv.gz"])),
        max_size=4,
    )
)
def test_settings_survive_their_text_form(setting):
    parsed = parse_setting(setting_key(setting))
    assert list(parsed) == list(setting)
    assert all(parsed[name] == value for name, value in setting.items())
    assert setting_key(parsed) == setting_key(setting)


def test_settings_refuse_their_separators():
    with pytest.raises(ValueError, match="may not contain"):
        setting_key({"population": "a;b"})


def test_claims_are_complete():
    ids = [claim.id for claim in CLAIMS]
    assert len(set(ids)) == len(ids)
    counts = {"D": 17, "P": 13, "V": 12, "R": 9, "A": 7, "B": 10}
    assert ids == [f"{letter}{i}" for letter, count in counts.items() for i in range(1, count + 1)]
    for claim in CLAIMS:
        checks = (*claim.checks, *llm_checks(claim.id))
        names = [c.name for c in checks]
        assert len(set(names)) == len(names) > 0
        for c in checks:
            assert c.settings, f"{claim.id}.{c.name} has no setting"
            assert len({setting_key(s) for s in c.settings}) == len(c.settings)
            for setting in c.settings:
                assert not math.isnan(c.predict(setting)), (claim.id, c.name, setting)


def test_a_setting_is_bound_to_the_prediction():
    proportional = equal("name", "quantity", lambda slope, n=1: slope * n, because="", measured=("method",))
    assert proportional.predict({"slope": 2.0, "n": 3, "method": "dpo"}) == 6.0
    number = equal("name", "quantity", 1.5, at=grid(slope=2.0), because="", measured=("method",))
    assert number.predict({"slope": 7.0, "method": "dpo"}) == 1.5
    for bad, word in (({"slope": 2.0, "itmes": 50}, "itmes"), ({"n": 3}, "slope")):
        with pytest.raises(ValueError, match=word):
            proportional.predict(bad)
    with pytest.raises(ValueError, match=r"no setting 'itmes'; it has slope"):
        number.predict({"slope": 7.0, "itmes": 50})


def test_constructors_say_how_a_check_is_judged():
    made = at_most("name", "quantity", 2.0, relative=0.1, because="test")
    assert (made.kind, made.resolution, made.relative, made.settings) == ("upper bound", 0.1, True, ({},))
    made = greater("name", "quantity", 0.0, because="test")
    assert (made.kind, made.resolution, made.relative, made.measured) == ("ordering", 0.0, False, ())


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="D1, D2"):
        find_claim("D99")
    with pytest.raises(KeyError, match="violation"):
        find_claim("D1").check("nothing")


def test_grid_is_the_product_of_its_axes():
    assert grid(a=(1, 2), b="x") == ({"a": 1, "b": "x"}, {"a": 2, "b": "x"})
