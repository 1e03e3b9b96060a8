"""Verdicts: what counts as agreement, for every kind of claim, and that nothing missing or NaN ever passes."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_validation.claims.table import llm_checks
from theory.claim import (
    Check,
    at_most,
    combine,
    equal,
    greater,
    grid,
    half_width,
    notices,
    parse_setting,
    setting_key,
    verdict,
)
from theory.claims import CLAIMS, find_claim


def check(kind, resolution=0.01, relative=False):
    return Check("name", "quantity", kind, (), 1.0, resolution, "test", relative)


INF = math.inf


@pytest.mark.parametrize(
    ("kind", "estimate", "stderr", "dof", "expected"),
    [
        ("equality", 1.005, 0.0, INF, "agrees"),
        ("equality", 1.02, 0.0, INF, "disagrees"),
        ("equality", 1.018, 0.0035, INF, "agrees"),  # 0.0090 is below the resolution, and 0.018 within 0.0190
        ("equality", 1.0195, 0.0035, INF, "disagrees"),
        ("equality", 1.0, 0.004, INF, "inconclusive"),  # 0.0103: too noisy to notice the error one fears
        ("equality", 1.0, 0.0035, 5, "inconclusive"),  # t of five degrees of freedom is 4.03
        ("equality", 1.018, 0.001, 2, "agrees"),  # and of two 9.92
        ("equality", 1.018, 0.001, 3, "disagrees"),
        ("equality", 1.2, 0.02, INF, "disagrees"),
        ("equality", math.nan, 0.0, INF, "inconclusive"),
        ("equality", 1.0, math.nan, INF, "inconclusive"),
        ("equality", INF, 0.0, INF, "disagrees"),
        ("rate", 1.0, 0.02, INF, "inconclusive"),
        ("invariant", 1.0, 0.0, INF, "agrees"),
        ("invariant", 1.02, 0.0, INF, "disagrees"),
        ("upper bound", 0.9, 0.01, INF, "agrees"),
        ("upper bound", 0.9, 0.02, 2, "inconclusive"),
        ("upper bound", 1.005, 0.0, INF, "agrees"),
        ("upper bound", 1.02, 0.0, INF, "disagrees"),
        ("upper bound", 0.99, 0.02, INF, "inconclusive"),
        ("lower bound", 1.1, 0.01, INF, "agrees"),
        ("lower bound", 0.98, 0.0, INF, "disagrees"),
        ("lower bound", INF, 0.0, INF, "agrees"),
        ("upper bound", INF, 0.0, INF, "disagrees"),
        ("ordering", 1.1, 0.01, INF, "agrees"),
        ("ordering", 1.1, 0.02, 2, "inconclusive"),
        ("ordering", 0.9, 0.01, INF, "disagrees"),
        ("ordering", 1.0, 0.0, INF, "disagrees"),  # equal is not greater
        ("ordering", 1.01, 0.01, INF, "inconclusive"),
        ("cited", math.nan, math.nan, INF, "cited"),
    ],
)
def test_verdicts(kind, estimate, stderr, dof, expected):
    assert verdict(check(kind), 1.0, estimate, stderr, dof) == expected


@pytest.mark.parametrize(("dof", "quantile"), [(1, 63.657), (2, 9.925), (4, 4.604), (9, 3.250), (INF, 2.576)])
def test_intervals_have_the_quantiles_of_t(dof, quantile):
    assert half_width(2.0, dof) == pytest.approx(2.0 * quantile, rel=1e-4)
    assert half_width(0.0, dof) == 0.0


@pytest.mark.parametrize(
    ("kind", "estimate", "stderr", "expected"),
    [
        ("equality", 1.0, 0.0, (False, True, True)),
        ("equality", 1.0, 0.0038, (False, True, True)),
        ("equality", 1.0, 0.2, (False, False, False)),
        ("upper bound", 1.0, 0.0, (False, True, True)),
        ("upper bound", 0.9, 0.0, (False, False, True)),
        ("lower bound", 1.2, 0.0, (False, False, True)),
        ("ordering", 1.04, 0.0, (False, True, True)),
        ("cited", math.nan, math.nan, (None, None, None)),
    ],
)
def test_what_notices_a_prediction_that_is_off(kind, estimate, stderr, expected):
    asked = check(kind), 1.0, estimate, stderr
    assert tuple(notices(*asked, change=change) for change in (0.005, 0.05, 0.3)) == expected


def test_a_prediction_of_zero_is_moved_by_its_scale():
    without, with_scale = (equal("name", "quantity", 0.0, within=0.01, scale=s, because="") for s in (0.0, 0.5))
    assert notices(without, 0.0, 0.0, 0.0, change=0.3) is None
    assert [notices(with_scale, 0.0, 0.0, 0.0, change=change) for change in (0.01, 0.05)] == [False, True]


def test_relative_resolution_scales_with_the_prediction():
    assert verdict(check("equality", 0.01, relative=True), 1000.0, 1005.0, 0.0) == "agrees"
    assert verdict(check("equality", 0.01), 1000.0, 1005.0, 0.0) == "disagrees"


def test_one_bad_setting_decides():
    assert combine(["agrees", "disagrees", "not run"]) == "disagrees"
    assert combine(["agrees", "inconclusive", "not run"]) == "inconclusive"
    assert combine(["agrees", "not run", "cited"]) == "not run"
    assert combine(["agrees", "cited"]) == "cited"
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
    counts = Counter(name[0] for name in ids)
    assert list(counts) == ["D", "P", "V", "R", "A", "B"]
    assert ids == [f"{letter}{i}" for letter, count in counts.items() for i in range(1, count + 1)]
    for claim in CLAIMS:
        checks = (*claim.checks, *llm_checks(claim.id))
        names = [c.name for c in checks]
        assert len(set(names)) == len(names) > 0
        for c in checks:
            assert c.settings, f"{claim.id}.{c.name} has no setting"
            assert len({setting_key(s) for s in c.settings}) == len(c.settings)


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
