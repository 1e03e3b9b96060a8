"""The decoding engine on a small model: the same rows whoever else lives, nothing finished lost, counts counted."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llm_validation.generation import engine
from llm_validation.generation.decode import best_of_n, speculative_rejection
from llm_validation.generation.engine import Run, Sampling
from llm_validation.generation.scorers import Batch, ScorerError, TextScorer
from llm_validation.generation.uniforms import uniforms
from llm_validation.model.model import build

EOS, VOCABULARY, CONTEXT = 1, 24, 128
PROMPTS = ((5, 6, 7), (8, 9, 10, 11, 12, 13), (14,))


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    """A random model whose rounding errors cannot reach a sampled token: float64, and a fair chance to end."""
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=CONTEXT, bos_token_id=0, eos_token_id=EOS, pad_token_id=2, initializer_range=0.3,
    )  # fmt: skip
    made = LlamaForCausalLM(config).double().eval()
    torch.random.set_rng_state(generator_state)
    return made


def weighted(batch: Batch) -> list[float]:
    """A score that every token moves, and no two texts share."""
    return [float(np.cos(np.arange(1, 1 + len(r)) * (1 + np.array(r))).sum()) for r in batch.responses]


SAMPLING = Sampling(40, (EOS,))


def texts(outcome):
    return [tuple(row[:length]) for row, length in zip(outcome.tokens.tolist(), outcome.lengths.tolist(), strict=True)]


def reference_row(model, prompt, p, row, seed, sampling):
    """One row alone, without a cache, token by token from the definition of the inverse distribution function."""
    text, written = list(prompt), []
    while len(written) < sampling.max_new_tokens:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([text])).logits[0, -1].float() / sampling.temperature
        law = torch.softmax(logits, -1).double().numpy()
        u = uniforms(seed, [p], len(written), row + 1)[0, row] * law.sum()
        token = int(np.flatnonzero(np.cumsum(law) > u)[0])
        text, written = [*text, token], [*written, token]
        if token in sampling.eos:
            break
    return tuple(written)


# the same rows


def test_rows_are_those_of_the_definition(model):
    outcome = best_of_n(model, PROMPTS, 4, weighted, SAMPLING, seed=3)
    for p, prompt in enumerate(PROMPTS):
        for row in range(4):
            assert texts(outcome)[4 * p + row] == reference_row(model, prompt, p, row, 3, SAMPLING)


def test_temperature_is_that_of_the_definition(model):
    sampling = Sampling(12, (EOS,), temperature=0.5)
    outcome = best_of_n(model, PROMPTS[:1], 3, weighted, sampling, seed=1)
    for row in range(3):
        assert texts(outcome)[row] == reference_row(model, PROMPTS[0], 0, row, 1, sampling)


@pytest.mark.parametrize("options", [{"times": (5, 11, 20)}, {"budget": 4 * 3 * 46 + 200}, {}])
def test_alpha_zero_is_best_of_n_bit_for_bit(model, options):
    plain = best_of_n(model, PROMPTS, 4, weighted, SAMPLING, seed=7)
    ours = speculative_rejection(model, PROMPTS, 4, 0.0, weighted, SAMPLING, seed=7, **options)
    assert ours.returned == plain.returned
    for field in ("tokens", "lengths", "finished", "rewards"):
        np.testing.assert_array_equal(getattr(ours, field), getattr(plain, field))
    assert (ours.spent.generated, ours.spent.prefill, ours.spent.peak) == (
        plain.spent.generated, plain.spent.prefill, plain.spent.peak,
    )  # fmt: skip


def test_survivors_write_what_they_write_in_best_of_n(model):
    plain = best_of_n(model, PROMPTS, 8, weighted, SAMPLING, seed=2)
    ours = speculative_rejection(model, PROMPTS, 8, 0.5, weighted, SAMPLING, seed=2, times=(3, 6, 12))
    assert len(ours.decisions) == 3
    cut_short = 0
    for a, b, finished in zip(texts(ours), texts(plain), ours.finished, strict=True):
        assert a == b[: len(a)]
        cut_short += len(a) < len(b)
        assert not finished or a == b
    assert cut_short > 0


def test_rows_do_not_depend_on_how_many_there_are_or_on_waves(model):
    few = best_of_n(model, PROMPTS[:1], 3, weighted, SAMPLING, seed=4)
    many = best_of_n(model, PROMPTS[:1], 7, weighted, SAMPLING, seed=4)
    waves = best_of_n(model, PROMPTS[:1], 7, weighted, SAMPLING, seed=4, budget=2 * 43 + 5)
    assert texts(many)[:3] == texts(few)
    assert texts(waves) == texts(many)
    assert waves.returned == many.returned
    assert waves.spent.peak <= 2 * 43 < many.spent.peak
    assert waves.spent.prefill == 4 * 3
    assert many.spent.prefill == 3


def test_equal_prompts_are_encoded_once_and_write_rows_of_their_own(model):
    prompts = (*PROMPTS, PROMPTS[1], PROMPTS[1])
    outcome = best_of_n(model, prompts, 2, weighted, SAMPLING, seed=5)
    assert outcome.spent.prefill == sum(map(len, PROMPTS))
    for place, text in enumerate(texts(outcome)):
        p, row = divmod(place, 2)
        assert text == reference_row(model, prompts[p], p, row, 5, SAMPLING)


def test_4096_rows_of_one_prompt_are_one_batch(monkeypatch):
    """The smallest model in float32, as it is used: one cache for all rows, and rejection at α = 0 changes nothing."""
    small, rows = build("smoke", 420, 64, seed=0), []
    honest = engine.forward

    def counting(model, tokens, *rest):
        rows.append(tokens.shape[0])
        return honest(model, tokens, *rest)

    monkeypatch.setattr(engine, "forward", counting)
    options = {"seed": 1}
    plain = best_of_n(small, [(7,)], 4096, weighted, Sampling(8, ()), **options)
    same = speculative_rejection(small, [(7,)], 4096, 0.0, weighted, Sampling(8, ()), times=(2, 4, 6), **options)
    assert rows == 2 * [1, *7 * [4096]]
    assert plain.spent.splits == same.spent.splits == 0
    assert plain.spent.peak == 4096 * 9
    np.testing.assert_array_equal(same.tokens, plain.tokens)
    assert same.returned == plain.returned
    halved = speculative_rejection(small, [(7,)], 4096, 0.5, weighted, Sampling(8, ()), times=(2, 4), **options)
    assert halved.spent.generated == 4096 * 2 + 2048 * 2 + 1024 * 4
    assert len(np.unique(plain.tokens, axis=0)) > 4000, "rows write different things"


# what is returned


def test_the_winner_is_the_best_ended_row(model):
    outcome = best_of_n(model, PROMPTS, 6, weighted, SAMPLING, seed=5)
    for p in range(3):
        own = [r for r in range(6 * p, 6 * p + 6) if outcome.finished[r]]
        winner = max(own, key=lambda r: outcome.rewards[r])
        assert outcome.returned[p].tokens == texts(outcome)[winner]
        assert outcome.returned[p].row == winner - 6 * p
        assert outcome.returned[p].tokens[-1] == EOS


def test_a_row_that_ended_is_never_lost(model):
    """The scorer hates finished rows until the very end: they stay candidates even so."""
    outcome = speculative_rejection(
        model, PROMPTS, 12, 0.9, lambda batch: [-float(len(r)) for r in batch.responses], SAMPLING, seed=1, times=(2, 4)
    )
    ended = np.flatnonzero(outcome.finished)
    assert np.isfinite(outcome.rewards[ended]).all()
    early = [r for r in ended if outcome.lengths[r] <= 4]
    assert early, "the seed has rows that end before the last decision"
    for p in range(3):
        own = outcome.rewards[12 * p : 12 * p + 12]
        assert outcome.returned[p].reward == np.nanmax(own)


def test_a_truncated_row_is_returned_only_on_request(model):
    short = Sampling(3, (EOS,))
    score = lambda batch: [float(len(r)) + 0.01 * i for i, r in enumerate(batch.responses)]
    outcome = best_of_n(model, PROMPTS[:1], 5, score, short, seed=8)
    assert outcome.truncated[0] is not None
    assert not outcome.truncated[0].finished
    assert outcome.returned[0] is None or outcome.returned[0].finished
    asked = best_of_n(model, PROMPTS[:1], 5, score, short, seed=8, allow_unfinished=True)
    assert asked.returned[0] == outcome.truncated[0]


@pytest.mark.parametrize("liked", [True, False])
def test_an_unfinished_row_wins_on_request_only_if_it_is_better(model, liked):
    """The scorer likes whole responses, or parts: the winner on request is of the kind it likes, both being there."""
    score = lambda batch: [float((r[-1] == EOS) == liked) + 0.001 * len(r) for r in batch.responses]
    outcome = best_of_n(model, PROMPTS[:1], 40, score, Sampling(8, (EOS,)), seed=8, allow_unfinished=True)
    assert outcome.finished.any()
    assert not outcome.finished.all()
    assert outcome.returned[0].finished == liked
    assert outcome.truncated[0] is not None


def test_without_an_end_token_responses_of_full_length_are_finished(model):
    outcome = best_of_n(model, PROMPTS[:1], 3, weighted, Sampling(6, ()), seed=8)
    assert outcome.finished.all()
    assert (outcome.lengths == 6).all()
    assert outcome.truncated == (None,)


# counts


def test_counts_are_those_of_the_schedule(model):
    fixed = Sampling(16, ())
    outcome = speculative_rejection(model, PROMPTS[:1], 8, 0.5, weighted, fixed, seed=9, times=(4, 8))
    assert [d.rows.size for d in outcome.decisions] == [8, 4]
    assert [int(d.kept.sum()) for d in outcome.decisions] == [4, 2]
    spent = outcome.spent
    assert spent.generated == 8 * 4 + 4 * 4 + 2 * 8
    assert spent.scored == 8 * (3 + 4) + 4 * (3 + 8) + 2 * (3 + 16)
    assert spent.prefill == 3
    assert spent.peak == max(8 * 7, 4 * 11, 2 * 19)
    assert [d.fill for d in outcome.decisions] == [8 * 7, 4 * 11]
    odd = speculative_rejection(model, PROMPTS[:1], 7, 0.5, weighted, fixed, seed=9, times=(4,))
    full = speculative_rejection(model, PROMPTS[:1], 7, 0.5, weighted, fixed, seed=9, budget=7 * (3 + 6))
    assert [int(o.decisions[0].kept.sum()) for o in (odd, full)] == [4, 4]  # half of seven is rounded, not cut


def test_decisions_keep_the_highest_scores(model):
    outcome = speculative_rejection(model, PROMPTS, 6, 0.5, weighted, Sampling(16, ()), seed=9, times=(4,))
    (decision,) = outcome.decisions
    for p in range(3):
        own = decision.rows // 6 == p
        assert decision.kept[own].sum() == 3
        assert decision.scores[own & decision.kept].min() > decision.scores[own & ~decision.kept].max()


def test_a_full_budget_triggers_decisions(model):
    fixed, budget = Sampling(24, ()), 8 * (3 + 6)
    outcome = speculative_rejection(model, PROMPTS[:1], 8, 0.5, weighted, fixed, seed=9, budget=budget)
    assert [d.token for d in outcome.decisions] == [6, 15]
    assert outcome.spent.peak <= budget
    assert all(d.fill > budget - d.rows.size for d in outcome.decisions), "a decision comes when one more token fails"
    left_to_it = speculative_rejection(model, PROMPTS[:1], None, 0.5, weighted, fixed, seed=9, budget=budget)
    assert left_to_it.tokens.shape[0] == budget // (3 + 3)


def test_a_budget_takes_a_row_at_a_time_where_next_to_nothing_is_to_be_rejected(model):
    """Of 8 rows 98 % are 8: one leaves whenever one more token does not fit."""
    budget = 8 * (3 + 6)
    outcome = speculative_rejection(model, PROMPTS[:1], 8, 0.02, weighted, Sampling(12, ()), seed=9, budget=budget)
    assert [int(d.kept.sum()) for d in outcome.decisions] == [7, 6, 5, 4]
    assert outcome.spent.peak <= budget


class Incremental:
    """Counts what it is shown; remembers rows until told to forget them."""

    def __init__(self):
        self.held, self.read = {}, 0

    def __call__(self, batch):
        for row, text in zip(batch.rows.tolist(), batch.sequences(), strict=True):
            before = self.held.get(row, ())
            assert text[: len(before)] == before
            self.read += len(text) - len(before)
            self.held[row] = text
        return weighted(batch)

    def keep(self, rows):
        self.held = {row: self.held[row] for row in rows.tolist() if row in self.held}


def test_an_incremental_scorer_reads_only_what_is_new(model):
    scorer = Incremental()
    options = {"seed": 9, "times": (4, 8, 20)}
    ours = speculative_rejection(model, PROMPTS, 8, 0.5, scorer, SAMPLING, **options)
    plain = speculative_rejection(model, PROMPTS, 8, 0.5, weighted, SAMPLING, **options)
    assert ours.returned == plain.returned
    assert ours.spent.scored == scorer.read < plain.spent.scored
    assert not scorer.held


# memory


def test_out_of_memory_halves_the_batch_and_loses_nothing(model, monkeypatch, caplog):
    whole = speculative_rejection(model, PROMPTS, 8, 0.5, weighted, SAMPLING, seed=2, times=(6, 12))
    honest = engine.forward

    def forward_with_little_memory(model, tokens, cache, positions, mask):
        out = honest(model, tokens, cache, positions, mask)
        if tokens.shape[0] * cache.get_seq_length() > 90:
            raise torch.OutOfMemoryError("pretended")
        return out

    monkeypatch.setattr(engine, "forward", forward_with_little_memory)
    with caplog.at_level(logging.WARNING):
        cramped = speculative_rejection(model, PROMPTS, 8, 0.5, weighted, SAMPLING, seed=2, times=(6, 12))
    assert cramped.spent.splits > 0
    assert "out of memory with" in caplog.text
    assert cramped.returned == whole.returned
    np.testing.assert_array_equal(cramped.tokens, whole.tokens)
    assert cramped.spent.prefill > whole.spent.prefill
    assert cramped.spent.generated == whole.spent.generated


def test_out_of_memory_with_one_row_is_an_error(model, monkeypatch):
    def nothing_fits(*_):
        raise torch.OutOfMemoryError("pretended")

    monkeypatch.setattr(engine, "forward", nothing_fits)
    with pytest.raises(torch.OutOfMemoryError):
        best_of_n(model, PROMPTS[:1], 2, weighted, SAMPLING, seed=0)


# errors, all before anything is generated


@pytest.fixture
def never_forward(monkeypatch):
    def fail(*_):
        raise AssertionError("generation started")

    monkeypatch.setattr(engine, "forward", fail)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n": 0}, "n = 0 must be a whole number >= 1"),
        ({"alpha": 1.0}, r"alpha\[0\] = 1.0 is outside \[0, 1\)"),
        ({"alpha": -0.1}, r"alpha\[0\] = -0.1"),
        ({"alpha": (0.5, float("nan")), "times": (2, 4)}, r"alpha\[1\] = nan"),
        ({"alpha": (0.5, 0.5), "times": (2, 4, 6)}, "one entry per decision"),
        ({"times": (4, 4)}, r"times\[1\] = 4"),
        ({"times": (41,)}, r"times\[0\] = 41"),
        ({"budget": 40}, "too small for one row: prompt 6"),
        ({"budget": 100}, "one row of each of 3 prompts"),
        ({"n": 30, "budget": 200}, "holds 28 rows of 6"),
        ({"alpha": 0.0, "budget": 300}, "alpha = 0 drops nothing"),
        ({"n": None}, "there is none"),
        ({"prompts": ((3,), ())}, r"prompts\[1\] is empty"),
        ({"prompts": ()}, "there is no prompt"),
        ({"prompts": ((3,), (4,) * 89)}, r"prompts\[1\] has 89 tokens.*context of 128"),
    ],
)
def test_bad_input_is_named_before_generation(model, never_forward, changed, message):
    arguments = {"prompts": PROMPTS, "n": 8, "alpha": 0.5} | changed
    prompts, n, alpha = (arguments.pop(name) for name in ("prompts", "n", "alpha"))
    with pytest.raises(ValueError, match=message):
        speculative_rejection(model, prompts, n, alpha, weighted, SAMPLING, seed=0, **arguments)


def test_a_bad_scorer_stops_the_run_and_names_the_rows(model):
    def sometimes_nan(batch):
        return [float("nan") if name == (1, 2) else 0.0 for name in batch.names]

    with pytest.raises(ScorerError, match=r"nan for \(prompt, row\) \(1, 2\)") as caught:
        best_of_n(model, PROMPTS, 4, sometimes_nan, SAMPLING, seed=0)
    assert caught.value.rows == ((1, 2),)
    named = r"shape \(1,\) instead of \(12,\) for \(prompt, row\) (\(\d, \d\), ){7}\(1, 3\) and 4 more$"
    with pytest.raises(ScorerError, match=named):
        speculative_rejection(model, PROMPTS, 4, 0.5, lambda _: [0.0], Sampling(9, ()), seed=0, times=(2,))


def test_a_model_that_returns_nan_is_named(model, monkeypatch):
    monkeypatch.setattr(engine, "forward", lambda *a: torch.full((1, 1, VOCABULARY), float("nan")))
    with pytest.raises(FloatingPointError, match=r"NaN at token 0 for \(prompt, row\) \[\(0, 0\)"):
        best_of_n(model, PROMPTS[:1], 2, weighted, SAMPLING, seed=0)


def test_a_scorer_on_texts(model):
    class Words:
        def decode(self, tokens, skip_special_tokens):
            return "".join(chr(97 + t) for t in tokens if not (skip_special_tokens and t == EOS))

    def variety(prompts, responses):
        return [len(set(text)) + (prompt == "fgh") for prompt, text in zip(prompts, responses, strict=True)]

    outcome = best_of_n(model, PROMPTS[:1], 5, TextScorer(Words(), variety), SAMPLING, seed=0)
    assert outcome.returned[0].reward == 1 + len(set(outcome.returned[0].tokens) - {EOS})


def test_many_prompts_write_what_each_writes_alone(model):
    prompts = [(3 + p % 20,) for p in range(20)]
    together = best_of_n(model, prompts, 3, weighted, SAMPLING, seed=4)
    few = best_of_n(model, prompts[:2], 3, weighted, SAMPLING, seed=4)
    assert texts(together)[:6] == texts(few)
    assert together.returned[:2] == few.returned


def test_a_run_holds_no_rows_after_its_end(model):
    run = Run(model, PROMPTS, 2, weighted, SAMPLING, 0, np.inf)
    run.advance(SAMPLING.max_new_tokens)
    assert run.running == 0
    assert not run.groups
