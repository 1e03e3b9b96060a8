"""The experiments of B1–B9: every check has one, they run, agree, and catch a broken formula; figures and text."""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy._core import _multiarray_umath as _umath

import figures.best_of_n
from figures.best_of_n import FIGURES
from figures.style import look
from paper.latex import latex
from simulate.best_of_n.rejection import _from_the_top, draw_rows
from simulate.experiments import EXPERIMENTS
from simulate.montecarlo import generator
from simulate.profiles import PROFILES
from simulate.rows.reach import ROOT
from simulate.rows.store import Row
from theory.best_of_n import cost, law, order_statistics, rejection
from theory.best_of_n.claims import BEST_OF_N_CLAIMS
from theory.best_of_n.examples import EXAMPLES
from theory.best_of_n.predictions import profile_speedup
from theory.claim import Check, parse_setting, setting_key, verdict

CHECKS: dict[str, Check] = {f"{claim.id}.{check.name}": check for claim in BEST_OF_N_CLAIMS for check in claim.checks}


def run(key: str, number: int = 0, profile: str = "smoke") -> tuple[Check, dict, float, float]:
    check = CHECKS[key]
    setting = dict(check.settings[number])
    estimate = EXPERIMENTS[key](**setting, rng=generator(0, key, setting_key(setting)), profile=PROFILES[profile])
    return check, setting, estimate.value, estimate.stderr


@pytest.mark.parametrize("key", CHECKS)
def test_every_experiment_runs_and_does_not_disagree(key):
    check, setting, value, stderr = run(key)
    assert verdict(check, check.predict(setting), value, stderr) in ("agrees", "inconclusive")


@pytest.mark.parametrize("key", ["B4.reward", "B5.survival", "B4.process", "B6.early_stop"])
def test_full_effort_agrees(key):
    number = {"B4.reward": 4, "B5.survival": 4, "B4.process": 8, "B6.early_stop": 1}[key]  # small n: cheap
    check, setting, value, stderr = run(key, number, "cpu")
    assert verdict(check, check.predict(setting), value, stderr) == "agrees"


@pytest.mark.parametrize(
    ("key", "number", "module", "name"),
    [
        ("B1.law", 11, law, "best_of_n_law"),
        ("B2.kl", 0, law, "best_of_n_kl"),
        ("B3.normal", 3, order_statistics, "expected_max"),
        ("B4.reward", 4, rejection, "speculative_reward"),
        ("B5.survival", 4, rejection, "winner_survival"),
        ("B6.tokens", 0, cost, "speculative_tokens"),
        ("B7.batch", 0, cost, "largest_batch"),
    ],
)
def test_a_formula_off_by_five_per_cent_is_caught(monkeypatch, key, number, module, name):
    check, setting, value, stderr = run(key, number, "cpu")
    assert verdict(check, check.predict(setting), value, stderr) == "agrees"
    right = getattr(module, name)
    wrong = lambda *args, **options: 1.05 * right(*args, **options)
    if check.theory is right:  # the prediction itself
        check = dataclasses.replace(check, theory=wrong)
    monkeypatch.setattr(module, name, wrong)
    assert verdict(check, check.predict(setting), value, stderr) == "disagrees"


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
    for key, check in CHECKS.items():
        setting = check.settings[-1]
        again = parse_setting(setting_key(setting))
        assert check.predict(again) == pytest.approx(check.predict(dict(setting)), nan_ok=True), key


def test_claims_can_be_printed_in_latex():
    for claim in BEST_OF_N_CLAIMS:
        texts = [claim.statement, claim.source, *(check.quantity for check in claim.checks)]
        assert all(latex(text).isascii() for text in texts)


@pytest.mark.parametrize("name", [name for name in FIGURES if not name.startswith("language_model")])
def test_figures_draw_from_rows_and_without(name, monkeypatch):
    monkeypatch.setattr(figures.best_of_n, "profile_speedup", functools.lru_cache(profile_speedup))
    rows = [
        Row(*key.split("."), setting_key(s), 0, 1.0, 0.1, 10, 0.9, 1.1, 0.0, "", "stamp")
        for key in ("B3.normal", "B4.survivors", "B4.process", "B6.speedup", "B6.area", "B6.reward")
        for s in CHECKS[key].settings
    ]
    with look():
        for given in (rows, []):
            figure = FIGURES[name].draw(given)
            assert figure is not None
            assert all(ax.get_xlabel() and ax.get_ylabel() for ax in figure.axes if ax.has_data() and ax.lines)
            plt.close(figure)


def test_rows_do_not_depend_on_the_processor():
    """numpy's partition leaves another order without AVX2 or AVX-512; noise is added in an order of our own."""
    code = (
        "from simulate.best_of_n.rejection import progressive; from simulate.montecarlo import generator\n"
        "import numpy as np\n"
        "print(float(progressive(np.array([0.25, 0.5, 0.75]), [64, 32, 16, 8], 40, generator(0, 'x')).mean()))"
    )
    features = " ".join(feature for feature in _umath.__cpu_dispatch__ if _umath.__cpu_features__[feature])
    means = [
        float(subprocess.run([sys.executable, "-c", code], env={**os.environ, "NPY_DISABLE_CPU_FEATURES": without},
                             cwd=ROOT, check=True, capture_output=True, text=True).stdout)
        for without in ("", features)
    ]  # fmt: skip
    assert means[0] == pytest.approx(means[1], rel=1e-12)
