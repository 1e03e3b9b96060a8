"""What checks say in words, of numbers that runs have; and files of trainings, one for each."""

from __future__ import annotations

import ast
from collections import Counter
from inspect import signature
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest

from llm_validation.claims import settings
from llm_validation.claims.table import find_check, trained_checks
from llm_validation.runs import displacement, distortion, real_separation
from llm_validation.runs.table import TOPICS
from simulate.rows.reach import ROOT


def test_no_two_runs_write_their_training_to_one_file():
    """A trace is named by what was trained and the seed."""
    names = Counter(
        call.args[1].value
        for topic in TOPICS
        for call in ast.walk(ast.parse((ROOT / f"{topic.__name__.replace('.', '/')}.py").read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "train"
        and len(call.args) > 1 and isinstance(call.args[1], ast.Constant)
    )  # fmt: skip
    assert {"dpo", "ddro", "ipo", "pro_scalar"} <= set(names)
    assert [name for name, count in names.items() if count > 1] == []


def test_pairs_of_borda_scores_nearer_than_the_check_says_are_not_counted():
    margin = signature(distortion._discordant).parameters["margin"].default
    assert f" {margin:.2g} ".replace("0.", ".") in find_check("D13", "trained").quantity
    pairs = np.full((3, 3), 1 / 9)
    far, near = (SimpleNamespace(win_rates=0.5 + 3.0 * gap * np.diag([1.0, 0.0, -1.0]), pair_weights=pairs)
                 for gap in (1.02 * margin, 0.98 * margin))  # fmt: skip
    rewards = np.array([0.0, 1.0, 2.0])
    assert [distortion._discordant(s, rewards) for s in (far, near)] == [3, 1], "the ends are twice as far apart"


def test_bounds_say_what_the_kl_term_weighs_beside_them():
    of = dict(zip(settings.INSTANCES, zip(settings.NLHF_WEIGHTS, settings.RLHF_WEIGHTS, strict=True), strict=True))
    for claim, place in (("D3", 0), ("D4", 1)):
        check = find_check(claim, "trained")
        most = max(of[str(at["instance"])][place] for at in check.settings)
        assert f"weighs {most:.1g}".replace("0.", ".") in check.because


def test_seeds_of_a_real_model_s_prompts_share_as_many_as_is_said(monkeypatch):
    asked: list[set[str]] = []
    monkeypatch.setattr(real_separation, "chat_tokens", lambda _, text: asked[-1].add(text) or (1,))
    loaded = SimpleNamespace(tokenizer=SimpleNamespace(eos_token_id=0, encode=lambda word, **_: [1]))
    for seed in range(3):
        asked.append(set())
        real_separation.prompts_and_words(loaded, seed)
    shared = [len(one & other) for one, other in combinations(asked, 2)]
    said = f"seeds share {min(shared)} to {max(shared)} of {len(asked[0])}"
    checks = [check for check in trained_checks("V11", "smollm2")]
    assert len(checks) == 2
    assert all(said in check.because and check.shared for check in checks)


def test_a_small_step_goes_along_all_pairs_and_the_band_is_of_one(monkeypatch):
    """The quotient of P16 has products with other prompts' pairs in it, and says so."""
    assert "on all pairs" in find_check("P16", "trained_start").quantity
    products = np.random.default_rng(0).normal(size=(2, 3, 2))
    dpo = SimpleNamespace(path=np.log(np.full((2, 2, 3), 1 / 3)))
    reference = SimpleNamespace(log_law=dpo.path[0])
    monkeypatch.setattr(displacement, "ches_scores", lambda _: np.zeros(2))
    band = displacement.accounts(reference, products, dpo)["band"][0]
    np.testing.assert_allclose(band, [products[0, 0, 0], products[1, 0, 1]])
    assert np.sum(products[:, 0], axis=1) != pytest.approx(band)
