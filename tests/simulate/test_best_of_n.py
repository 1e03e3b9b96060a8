"""The experiments of Best-of-N: they catch a broken formula; rows that are drawn, and settings as text."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from numpy._core import _multiarray_umath as _umath
from scipy.stats import norm

from simulate.best_of_n.laws import mixed_kl
from simulate.best_of_n.proxy import gaussian_survival
from simulate.best_of_n.rejection import _from_the_top, _mean_maximum, draw_rows
from simulate.montecarlo import generator
from simulate.profiles import PROFILES
from simulate.rows.reach import ROOT
from tests.oracles.experiments import CHECKS, broken, judged, measure
from theory.best_of_n import cost, law, order_statistics, rejection
from theory.best_of_n.examples import EXAMPLES
from theory.claim import parse_setting, setting_key


@pytest.mark.parametrize(
    ("key", "number", "module", "name"),
    [
        ("B1.law", 10, law, "best_of_n_law"),
        ("B2.kl", 0, law, "best_of_n_kl"),
        ("B3.normal", 3, order_statistics, "expected_max"),
        ("B4.reward", 0, rejection, "speculative_reward"),
        ("B5.survival", 0, rejection, "winner_survival"),
        ("B6.tokens", 0, cost, "speculative_tokens"),
        ("B7.batch", 0, cost, "largest_batch"),
    ],
)
def test_a_formula_off_by_five_per_cent_is_caught(monkeypatch, key, number, module, name):
    setting = CHECKS[key].settings[number]
    estimate = measure(key, setting, "cpu")
    assert judged(CHECKS[key], setting, estimate) == "agrees"
    wrong = lambda right: lambda *arguments, **options: 1.05 * right(*arguments, **options)
    assert judged(broken(monkeypatch, key, module, name, wrong), setting, estimate) == "disagrees"


@pytest.mark.parametrize("name", EXAMPLES)
def test_rows_have_the_covariance_of_their_example(name, rng):
    example = EXAMPLES[name]
    scores, final = draw_rows(dataclasses.replace(example, log_scale=0.0), (1, 200_000), rng)
    found = np.cov(np.vstack([scores[:, 0], final[0]]))
    np.testing.assert_allclose(found, example.covariance(), atol=0.02)


def test_rows_from_the_top_are_the_best_of_all(rng):
    """The order statistics of the first decision, against the exact law, where few enough rows make them matter."""
    found = _from_the_top(40, np.array([0.7, 0.9]), 0.5, 20_000, rng)
    assert abs(found.value - rejection.speculative_reward(40, (0.7, 0.9), 0.5)) < 4 * found.stderr + 3e-4


def test_settings_survive_their_key():
    for key, check in ((key, check) for key, check in CHECKS.items() if key.startswith("B")):
        setting = check.settings[-1]
        again = parse_setting(setting_key(setting))
        assert check.predict(again) == pytest.approx(check.predict(dict(setting)), nan_ok=True), key


def test_rows_do_not_depend_on_the_processor(capsys):
    """numpy's partition leaves another order without AVX2 or AVX-512; noise is added in an order of our own."""
    code = (
        "from simulate.best_of_n.rejection import progressive; from simulate.montecarlo import generator\n"
        "import numpy as np\n"
        "print(float(progressive(np.array([0.25, 0.5, 0.75]), [64, 32, 16, 8], 40, generator(0, 'x')).mean()))"
    )
    features = " ".join(feature for feature in _umath.__cpu_dispatch__ if _umath.__cpu_features__[feature])
    without = {**os.environ, "NPY_DISABLE_CPU_FEATURES": features}
    words = [sys.executable, "-c", code]
    other = subprocess.run(words, env=without, cwd=ROOT, check=True, capture_output=True, text=True)
    exec(code)
    assert float(capsys.readouterr().out) == pytest.approx(float(other.stdout), rel=1e-12)


def test_survival_of_a_gaussian_best_is_its_integral():
    """The best of N by its quantiles, then the score given it; between 0 and 1, where the limit's check is blind."""
    v, a, log_n = 0.5, 0.45, 60.0
    best = norm.isf(-np.log((np.arange(4000) + 0.5) / 4000) / math.exp(log_n))
    cut = math.sqrt(v) * norm.isf(math.exp(-a * log_n))
    expected = norm.sf((cut - v * best) / math.sqrt(v * (1.0 - v))).mean()
    profile = dataclasses.replace(PROFILES["smoke"], replicates=400)
    found = gaussian_survival(v, a, log_n, rng=generator(0, "survival"), profile=profile)
    assert abs(found.value - expected) < 4 * found.stderr
    assert found.stderr < 0.01


def test_means_of_lognormal_maxima_have_a_closed_form():
    mean = math.exp(0.5**2 / 2)
    assert _mean_maximum(EXAMPLES["lognormal"], 1.0) == pytest.approx(mean, rel=1e-9)
    assert _mean_maximum(EXAMPLES["lognormal"], 2.0) == pytest.approx(2 * mean * norm.cdf(0.5 / math.sqrt(2)), rel=1e-9)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_error_of_a_divergence_with_an_atom_is_of_the_atom_s_share_too(number):
    small, setting = dataclasses.replace(PROFILES["cpu"], replicates=20), CHECKS["B2.mixed"].settings[number]
    found = [mixed_kl(**setting, rng=generator(seed, "atom"), profile=small) for seed in range(100)]
    ratio = np.std([e.value for e in found], ddof=1) / np.mean([e.stderr for e in found])
    assert 0.82 < ratio < 1.22
