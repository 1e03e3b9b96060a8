"""Sampling a token by inversion, and the random numbers behind it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from tokenizers import AddedToken

from llm_validation.commands.prompts import writer
from llm_validation.generation import quantiles
from llm_validation.generation.engine import Sampling
from llm_validation.generation.quantiles import sample
from llm_validation.generation.stops import StopStrings
from llm_validation.generation.uniforms import BELOW_ONE, uniforms
from llm_validation.model.model import save
from simulate.montecarlo import generator
from tests.llm_validation.generation.test_engine import EOS
from tests.oracles.toy_preferences import model, word_tokenizer


@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.75, 0.999, 1.0])
def test_top_p_keeps_the_likeliest_tokens_until_they_hold_it(top_p):
    """Against a loop: the one with which the sum passes top_p is the last that is kept, the likeliest always is."""
    law = torch.tensor([0.1, 0.4, 0.05, 0.25, 0.2])
    kept, total = [], 0.0
    for token in law.argsort(descending=True).tolist():
        kept.append(token)
        total += float(law[token])
        if total >= top_p:
            break
    u = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    drawn = sample(law.log().expand(1000, 5), 1.0, u, top_p)
    shares = torch.bincount(drawn, minlength=5) / 1000
    for token in range(5):
        assert float(shares[token]) == pytest.approx(float(law[token]) / total if token in kept else 0.0, abs=2e-3)


def test_sampling_follows_the_law_and_never_takes_a_token_of_probability_zero():
    logits = torch.log(torch.tensor([[0.0, 0.1, 0.0, 0.6, 0.3, 0.0]]))
    u = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    counts = torch.bincount(sample(logits.expand(1000, -1), 1.0, u), minlength=6)
    assert counts.tolist() == [0, 100, 0, 600, 300, 0]
    edges = sample(logits.expand(2, -1), 1.0, torch.tensor([0.0, BELOW_ONE], dtype=torch.float64))
    assert edges.tolist() == [1, 4]


def test_sampling_some_rows_at_a_time_changes_none(monkeypatch):
    logits, u = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)), torch.linspace(0, 0.99, 50).double()
    whole = sample(logits, 0.7, u)
    for entries in (1, 20, 7 * 49):
        monkeypatch.setitem(quantiles.ENTRIES, "cpu", entries)
        assert torch.equal(sample(logits, 0.7, u), whole)


@pytest.mark.parametrize(
    "bad", [{"max_new_tokens": 0}, {"temperature": 0.0}, {"temperature": float("nan")}, {"side_by_side": 0}]
)
def test_bad_sampling_is_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Sampling(**({"max_new_tokens": 4, "eos": (EOS,)} | bad))


@pytest.mark.parametrize("seed", [0, 2**32 + 5, 2**130 + 3])
def test_quantiles_are_keyed_by_seed_prompt_position_and_row(seed):
    """Each number depends on its own four alone, and is another's in nothing."""
    prompts = [0, 5, *range(10, 40), 70_000]
    table = uniforms(seed, prompts, 3, 9)
    assert table.shape == (33, 9)
    for p, prompt in enumerate(prompts):
        np.testing.assert_array_equal(uniforms(seed, [prompt], 3, 4)[0], table[p, :4])
    others = [uniforms(seed + 1, prompts, 3, 9), uniforms(seed, prompts, 4, 9), uniforms(seed, [41], 3, 9)]
    assert np.unique(np.concatenate([table, *others])).size == 9 * (3 * 33 + 1)


def test_quantiles_are_philox_at_the_counter_of_their_place_and_uniform():
    """Against a generator made for each; their distribution and neighbours' correlation."""
    key = generator(7, "token").bit_generator.seed_seq.generate_state(2, np.uint64)
    alone = np.random.Generator(np.random.Philox(key=key, counter=[0, 5, 12, 0])).random(6) * BELOW_ONE
    np.testing.assert_array_equal(uniforms(7, [3, 12], 5, 6)[1], alone)
    table = uniforms(7, range(2000), 0, 8)
    assert kstest(table.ravel(), "uniform").pvalue > 1e-3
    for one, other in ((table[1:], table[:-1]), (table[:, 1:], table[:, :-1]), (table, uniforms(7, range(2000), 1, 8))):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(one.size)


def test_a_special_token_as_a_stop_string_ends_a_response(tmp_path):
    """It is in no response's text, where it would never be found."""
    tokenizer = word_tokenizer()
    tokenizer.add_tokens([AddedToken("w5", special=True)], special_tokens=True)
    save(model(), tokenizer, tmp_path / "base")
    sampling = writer(str(tmp_path / "base"), 6, 1.0, stop=["w5", "w3 w4"]).sampling
    assert sampling.eos == (0, 5)
    assert sampling.stop == StopStrings(sampling.stop.tokenizer, ("w3 w4",))
    assert writer(str(tmp_path / "base"), 6, 1.0, stop=["w5"]).sampling.stop is None
    assert StopStrings(tokenizer, ("three", "two", "four")).cut("one two three") == "one ", "the first of them counts"
    with pytest.raises(ValueError, match="the stop string 'w4 w5' holds the special token 'w5'"):
        writer(str(tmp_path / "base"), 6, 1.0, stop=["w4 w5"])
