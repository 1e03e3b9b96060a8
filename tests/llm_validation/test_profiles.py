"""Profiles at every size: presets, learning rates, folders, and numbers that must fit each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llm_validation.pretraining.config import PRESETS
from llm_validation.profiles import PROFILES, RATES, folder_name, profile_at


def test_every_size_has_its_rates_and_its_folder():
    assert set(RATES) == set(PRESETS)
    assert profile_at("cpu") is PROFILES["cpu"]
    base = profile_at("gpu", "base")
    assert (base.pretraining, base.fit.rate, base.runs.rate) == (PRESETS["base"], *RATES["base"])
    assert (base.seeds, base.fit.steps) == (5, PROFILES["gpu"].fit.steps)
    assert [folder_name("gpu"), folder_name("gpu", "small"), folder_name("gpu", "base")] == ["gpu", "gpu", "gpu-base"]
    for profile in PROFILES.values():
        assert (profile.fit.rate, profile.runs.rate) == RATES[profile.pretraining.size]


def test_what_generates_freely_learns_more_slowly_the_wider_it_is():
    own, base = PROFILES["gpu"], profile_at("gpu", "base")
    assert profile_at("gpu", "small") is own
    assert base.best_of_n.reward.rate == pytest.approx(own.best_of_n.reward.rate * 512 / 768)
    assert base.correction.rate == pytest.approx(own.correction.rate * 512 / 768)
    assert replace(base.correction, rate=0.0) == replace(own.correction, rate=0.0), "nothing but rates changes"
    narrow, cpu = profile_at("cpu", "smoke"), PROFILES["cpu"]
    assert (narrow.best_of_n, narrow.correction) == (cpu.best_of_n, cpu.correction), "a narrower one keeps the rate"


def test_rows_come_in_whole_groups_and_a_gpu_writes_its_largest_n_in_one_batch():
    for profile in PROFILES.values():
        sizes, rows = profile.best_of_n.sizes, profile.best_of_n.rows
        assert all(count % n == 0 for n, count in zip(sizes, rows, strict=True))
    assert max(PROFILES["gpu"].best_of_n.sizes) == 4096 <= PROFILES["gpu"].best_of_n.at_once


def test_what_there_is_not_is_named():
    with pytest.raises(ValueError, match="no model size 'huge'; there are smoke, "):
        profile_at("gpu", "huge")
    with pytest.raises(ValueError, match="no profile 'huge'; there are smoke, cpu, gpu"):
        profile_at("huge")
