"""Planted truths in small data are named; the report is strict JSON and escaped HTML."""

from __future__ import annotations

import json

import pytest

from llm_validation.advise.findings import Finding, counts, existence
from llm_validation.advise.report import as_html, as_json, reference
from llm_validation.preferences.data import Example, Preferences
from tests.oracles.toy_preferences import model, naive, preferences


def planted(judgements):
    sides = [tuple(Example((2,), (3 + j[side],) * (1 + 2 * (side == 0)), 1) for j in judgements) for side in (0, 1)]
    return Preferences("planted", *sides, paired=True)


def pairs(*judgements):
    sides = [tuple(Example((2,), (3 + j[s],), k) for k, j in enumerate(judgements)) for s in (0, 1)]
    return Preferences("planted", *sides, paired=True)


def named(findings):
    return {f.name: f.value for f in findings}


@pytest.mark.parametrize(
    ("data", "attained", "flat", "conflicts", "duplicates"),
    [
        (pairs((0, 1)), 0, 1, 0, 0),  # one pair: separable, and the unlabelled
        (pairs((0, 1), (1, 0), (0, 1)), 1, 1, 1, 1),
        (pairs((0, 1), (1, 0), (2, 3), (3, 2)), 1, 2, 2, 0),  # two islands
        (pairs((0, 1), (1, 2), (2, 0)), 1, 1, 0, 0),  # a cycle
    ],
)
def test_comparison_graphs(data, attained, flat, conflicts, duplicates):
    found = named([*counts(data), *existence(data)])
    assert (found["dpo"], found["flat"]) == (attained, flat)
    assert (found["conflicts"], found["duplicates"]) == (conflicts, duplicates)


def test_thresholds():
    assert named(existence(pairs((0, 1))))["pro"] == pytest.approx(9 / 8)  # P9
    assert named(existence(pairs((0, 1), (1, 0))))["pro"] == 0
    rejected = tuple(Example((2,), (4,), k) for k in range(100))
    found = named(existence(Preferences("planted", (Example((2,), (3,), 0),), rejected, paired=False)))
    assert found["pro_binary"] == pytest.approx(200 / 101)
    assert found["kldo"] == float("inf")  # a chosen response that is never rejected


def test_lengths():
    found = {f.name: f for f in counts(planted([(0, 1), (2, 3), (4, 5)]))}
    assert (found["length"].value, found["length"].error) == (2.0, 0.0)
    assert {f.name: f for f in counts(planted([(0, 1)]))}["length"].error is None


def test_reference_is_the_models_own():
    net, data = model(), preferences(10)
    values = named(reference(net, data))
    for name, side in (("chosen", data.chosen), ("rejected", data.rejected)):
        expected = sum(float(naive(net, e).detach()) for e in side) / 10
        assert values[f"reference_{name}"] == pytest.approx(expected, rel=1e-4)


def test_report():
    findings = [Finding("kldo", "B", float("inf"), claim="V9")]
    page = as_html(findings, "<b>m", "d&")
    assert "<b>" not in page
    assert "V9" in page
    assert json.loads(as_json(findings, "m", "d"))["findings"][0]["value"] == "inf"
