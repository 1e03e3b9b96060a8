"""Numbers of no row that are typed in the proofs, computed again."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from simulate.best_of_n.proxy import gamma_survival
from simulate.montecarlo import mean
from simulate.profiles import PROFILES
from simulate.rows.reach import ROOT
from simulate.rows.store import read_rows
from theory.density_ratio.estimates import expected_total_variation, multinomial_covariance, policy_covariance
from theory.density_ratio.limits import TABLES
from theory.density_ratio.ratios import mixture
from theory.divergences.pairing import pairing_cost
from theory.divergences.safety_data import example_pair

SECTIONS = ROOT / "paper" / "sections"
ALPHAS = np.linspace(0.5, 0.999, 500)


def text(name: str) -> str:
    """A section on one line, without what the ledger fills in."""
    found = re.sub(r"\\ledger\{.*?\}\{.*?\}\{.*?\}", "", (SECTIONS / f"{name}.tex").read_text(encoding="utf-8"))
    return " ".join(found.split())


def errors_of_an_estimated_reference(table: str, draws: float) -> np.ndarray:
    """√n·E TV of RDRO at `ALPHAS`, and of the limit α → 1, where m = draws·n (Theorem on R10)."""
    p, q = TABLES[table]
    found = []
    for alpha in ALPHAS:
        reference = mixture(p, q, float(alpha))
        scale = np.diag(p / reference)
        own = policy_covariance("rdro", p, q, 1, 1, float(alpha))
        found.append(expected_total_variation(own + scale @ multinomial_covariance(reference, 1) @ scale / draws))
    return np.array([*found, expected_total_variation(multinomial_covariance(p, 1) / draws)])


def test_the_best_alpha_of_an_estimated_reference_and_what_it_gains():
    typed = text("density_ratio_proofs")
    best, gains = [], []
    for table in ("three", "rare"):  # those of R7
        for draws in (0.1, 1.0, 10.0):
            errors = errors_of_an_estimated_reference(table, draws)
            gains.append(1 - errors.min() / errors[-1])
            if table == "three":
                best.append(f"{ALPHAS[errors[:-1].argmin()]:.3f}")
    assert f"on \\emph{{three}} ${best[0]}$, ${best[1]}$ and ${best[2]}$ at" in typed
    assert f"what it gains over $\\alpha\\to1$ is below ${np.ceil(1000 * max(gains)) / 10:g}\\,\\%$" in typed


def test_the_survival_under_gamma_rewards_at_a_moderate_number_of_rows():
    profile = replace(PROFILES["smoke"], replicates=100_000)
    sampled = gamma_survival(0.3, 0.3, 2.0, 100.0, rng=np.random.default_rng(0), profile=profile)
    typed = 0.451
    assert f"approached slowly, ${typed}$ at $\\log N=100$" in text("best_of_n_proofs")
    assert sampled.value == pytest.approx(typed, abs=3 * sampled.stderr)


def test_the_largest_cost_of_pairing():
    largest = [pairing_cost(*example_pair(5, separation)).max() for separation in (1.5, 3.0)]
    assert f"up to ${largest[0]:.2f}$ at separation $1.5$ and ${largest[1]:.2f}$ at" in text("divergences_proofs")


def test_on_trained_models_no_account_ranks_prompts_and_the_band_has_the_sign_wrong():
    """P16: what the paper says of rank correlations over four prompts, of which no check is made."""
    rows = read_rows(ROOT / "llm_validation" / "results" / "reference")
    ranks = {
        account: mean(
            [row.estimate for row in rows if (row.check, row.setting) == ("trained_rank", f"account={account}")]
        )
        for account in ("path", "CHES", "first order", "band")
    }
    assert not [account for account, rank in ranks.items() if rank.value > 2 * rank.stderr]
    sign = mean([row.estimate for row in rows if (row.check, row.setting) == ("trained_sign", "account=band")])
    assert sign.high < 0.5


def test_what_the_text_calls_samples_of_many_users_was_sampled():
    """D8 has a check of the population limit and one of samples; the number beside "samples" is the latter's."""
    said = (SECTIONS / "distortion.tex").read_text(encoding="utf-8")
    assert re.search(r"\\ledger\{D8\.sampled\}\{[^}]*\}\{simulation\}\$ on samples of \$10\^\{18\}\$ users", said)
    assert "D8.limit" not in said
