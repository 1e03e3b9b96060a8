"""The reward model: what its loss is, that it learns a known utility, and that a cache changes nothing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from llm_validation.generation.decode import best_of_n, speculative_rejection
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import Batch
from llm_validation.model.model import build
from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.rewards.comparisons import BT_BETA, Comparison, compare, read_comparisons, streams, utility
from llm_validation.rewards.model import (
    RewardTraining,
    bradley_terry_loss,
    explained_variance,
    from_language_model,
    load_reward_model,
    normal_scores,
    train_reward_model,
)
from llm_validation.rewards.prefix_scorer import PrefixScorer
from llm_validation.text.language import STORIES
from llm_validation.training.loop import TrainingDiverged
from simulate.montecarlo import generator

LENGTH = 40


@pytest.fixture(scope="module")
def language_model(tokenizer):
    return build("smoke", len(tokenizer), 64, seed=0).eval()


@pytest.fixture(scope="module")
def fitted(language_model, tokenizer):
    """A reward model after some seconds of training on comparisons of story streams."""
    rng = generator(0, "comparisons")
    texts = streams(tokenizer, 1500, LENGTH, rng)
    utilities = np.array([utility(tokenizer.decode(text)) for text in texts])
    pairs = compare(texts, utilities, 4000, BT_BETA, 1, rng)
    return train_reward_model(language_model, pairs, RewardTraining(steps=150, batch=32, rate=4e-3), seed=0).model


@pytest.fixture(scope="module")
def held_out(tokenizer):
    texts = streams(tokenizer, 400, LENGTH, generator(1, "held out"))
    return texts, np.array([utility(tokenizer.decode(text)) for text in texts])


# comparisons


def test_streams_are_stories_after_an_end_of_text(tokenizer):
    for text in streams(tokenizer, 20, LENGTH, generator(2, "streams")):
        assert len(text) == LENGTH + 1
        assert text[0] == tokenizer.eos_token_id
        first = tokenizer.decode(text[1:]).split(tokenizer.eos_token)[0]
        STORIES.log_probability(first)  # the first story fits and is one of the language


def test_users_choose_by_bradley_terry():
    texts, utilities = [(1, 2), (1, 3)], np.array([0.6, 0.4])
    pairs = compare(texts, utilities, 40_000, 5.0, 1, generator(0, "users"))
    share = np.mean([pair.winner == texts[0] for pair in pairs])
    assert share == pytest.approx(1 / (1 + math.exp(-1.0)), abs=4 * 0.5 / 200)
    assert {pair.winner for pair in pairs} == set(texts)
    assert all(pair.winner != pair.loser for pair in pairs)


def test_comparisons_are_read_from_a_file(tmp_path, tokenizer):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"prompt": "Mia the fox", "chosen": " felt glad.", "rejected": " felt sad."}) + "\n\n")
    (pair,) = read_comparisons(path, TextBoundaries.of(tokenizer), 64)
    assert tokenizer.decode(pair.winner[1:-1]) == "Mia the fox felt glad."
    assert tokenizer.decode(pair.loser[: pair.prompt]) == tokenizer.eos_token + "Mia the fox"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ('{"prompt": "a", "chosen": "b"}', "line 2: no field 'rejected'"),
        ('{"prompt": "a", "chosen": 3, "rejected": "b"}', "line 2: field 'chosen' must be a string"),
        ('{"prompt": "a", "chosen": "b", "rejected": "b"}', "line 2: chosen and rejected are the same"),
        (json.dumps({"prompt": "a", "chosen": "b" * 90, "rejected": "c"}), "line 2: prompt and completion have 93"),
    ],
)
def test_a_bad_file_is_named_by_line(tmp_path, tokenizer, line, message):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n' + line, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_comparisons(path, TextBoundaries.of(tokenizer), 64)
    path.write_text("\n")
    with pytest.raises(ValueError, match="holds no preferences"):
        read_comparisons(path, TextBoundaries.of(tokenizer), 64)


# the loss and the training


def test_the_loss_by_hand():
    winner, loser = torch.tensor([[0.0, 1.0, 2.0, 9.0]]), torch.tensor([[0.0, 0.5, 3.0, 4.0]])
    loss = bradley_terry_loss(winner, loser, torch.tensor([[3], [4]]), torch.tensor([1]))
    minus_log_sigmoid = lambda x: math.log1p(math.exp(-x))
    # ends: 2 against 4; beginnings after the prompt that both reach: 1 against .5 and 2 against 3
    by_hand = 0.5 * minus_log_sigmoid(-2.0) + 0.25 * (minus_log_sigmoid(0.5) + minus_log_sigmoid(-1.0))
    assert float(loss) == pytest.approx(by_hand, rel=1e-6)


def test_before_training_the_loss_is_log_2(language_model):
    model = from_language_model(language_model)
    scores = model(torch.tensor([[0, 1, 2], [0, 3, 4]]))
    loss = bradley_terry_loss(scores[:1], scores[1:], torch.tensor([[3], [3]]), torch.tensor([1]))
    assert float(loss.detach()) == pytest.approx(math.log(2), rel=1e-6)


def test_training_learns_the_utility_and_leaves_the_language_model_alone(language_model, fitted, held_out):
    texts, utilities = held_out
    correlation = np.corrcoef(fitted.last_scores(texts), utilities)[0, 1]
    assert correlation > 0.8
    assert not torch.equal(
        fitted.backbone.layers[0].mlp.up_proj.weight, language_model.model.layers[0].mlp.up_proj.weight
    )
    again = build("smoke", language_model.config.vocab_size, 64, seed=0)
    assert torch.equal(again.model.layers[0].mlp.up_proj.weight, language_model.model.layers[0].mlp.up_proj.weight)


def test_scores_are_float32_under_autocast(fitted):
    """In bf16 they would come in steps of 1/64 and finer, with many ties."""
    states = torch.randn(64, fitted.head.weight.shape[1], generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = fitted.read(states)
    assert scores.dtype == torch.float32
    assert torch.allclose(scores, fitted.head(states)[:, 0], atol=1e-6)


def test_training_is_repeatable(language_model):
    pairs = [Comparison((0, 5, 6), (0, 7, 8), 1), Comparison((0, 9), (0, 5, 5, 5), 1), Comparison((0, 4), (0, 3), 1)]
    how = RewardTraining(steps=4, batch=2)
    first, second = (train_reward_model(language_model, pairs, how, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.loss, second.loss)
    other = train_reward_model(language_model, pairs, how, seed=4)
    assert not np.array_equal(first.loss, other.loss)


def test_training_stops_at_a_number_that_is_none(language_model):
    pairs = [Comparison((0, 5, 6), (0, 7, 8), 1)]
    broken = build("smoke", language_model.config.vocab_size, 64, seed=0)
    with torch.no_grad():
        broken.model.embed_tokens.weight[7] = torch.nan
    with pytest.raises(TrainingDiverged, match=r"reward model: step 0 of 5 has loss nan; comparisons \[0\]"):
        train_reward_model(broken, pairs, RewardTraining(steps=5, batch=1), seed=0)
    with pytest.raises(ValueError, match="no comparisons"):
        train_reward_model(language_model, [], RewardTraining(), seed=0)


def test_saved_and_loaded_it_is_the_same(fitted, held_out, tmp_path):
    fitted.save(tmp_path / "reward")
    assert sorted(p.suffix for p in (tmp_path / "reward").iterdir()) == [".json", ".safetensors"]
    loaded = load_reward_model(tmp_path / "reward")
    np.testing.assert_array_equal(loaded.last_scores(held_out[0][:20]), fitted.last_scores(held_out[0][:20]))
    with pytest.raises(ValueError, match="holds no reward model"):
        load_reward_model(tmp_path)


def test_scores_of_beginnings_are_those_of_the_beginnings_alone(fitted, held_out):
    text = held_out[0][0]
    (scores,) = fitted.prefix_scores([text])
    for length in (1, 7, 20, len(text)):
        assert scores[length - 1] == pytest.approx(fitted.last_scores([text[:length]])[0], abs=1e-5)
    ragged = fitted.last_scores([text, text[:9], text[:3]])
    np.testing.assert_allclose(ragged, scores[[-1, 8, 2]], atol=1e-5)


# scoring with a cache


@pytest.mark.parametrize("eos", [True, False])
def test_a_prefix_scorer_decides_as_the_model_does(language_model, fitted, tokenizer, eos):
    """Prompts of different lengths, rows that end at different times, three decisions: the same scores throughout."""
    prompts = [(tokenizer.eos_token_id,), tuple(tokenizer("Mia the fox lived")["input_ids"])]
    sampling = Sampling(30, (tokenizer.eos_token_id, *range(60, 68)) if eos else ())
    options = {"seed": 1, "times": (4, 9, 20)}
    whole = speculative_rejection(language_model, prompts, 12, 0.4, fitted.score, sampling, **options)
    scorer = PrefixScorer(fitted)
    cached = speculative_rejection(language_model, prompts, 12, 0.4, scorer, sampling, **options)
    assert len(cached.decisions) == 3
    if eos:
        assert (whole.lengths[whole.finished] < 20).any(), "rows that end between decisions"
    for a, b in zip(whole.decisions, cached.decisions, strict=True):
        np.testing.assert_array_equal(a.rows, b.rows)
        np.testing.assert_allclose(a.scores, b.scores, atol=2e-5)
    np.testing.assert_allclose(cached.rewards, whole.rewards, atol=2e-5)
    assert cached.spent.scored < whole.spent.scored
    assert scorer.cache is None


def test_places_are_counted_without_padding():
    """GPT-2 has an embedding of each place: prompts of one and four tokens, read on after two more."""
    config = GPT2Config(vocab_size=9, n_positions=16, n_embd=8, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reward = from_language_model(GPT2LMHeadModel(config))
        torch.nn.init.normal_(reward.backbone.wpe.weight)
        torch.nn.init.normal_(reward.head.weight)
    scorer, prompts = PrefixScorer(reward), ((1,), (2, 3, 4, 5))
    for responses in (((6, 7), (8, 6)), ((6, 7, 8), (8, 6, 7))):
        batch = Batch(np.arange(2), ((0, 0), (1, 0)), prompts, responses, False)
        np.testing.assert_allclose(scorer(batch), reward.score(batch), atol=1e-5)


def test_more_rows_give_more_reward(language_model, fitted, tokenizer):
    prompt, sampling = [(tokenizer.eos_token_id,)] * 12, Sampling(LENGTH, ())
    means = [
        np.mean([r.reward for r in best_of_n(language_model, prompt, n, fitted.score, sampling, seed=0).returned])
        for n in (1, 4, 16)
    ]
    assert means[0] < means[1] < means[2]


# explained variance


def test_explained_variance_of_a_gaussian_martingale():
    rng = generator(0, "martingale")
    v = np.array([0.1, 0.5, 0.9])
    path = np.cumsum(np.sqrt(np.diff([0, *v, 1.0])) * rng.standard_normal((4000, 4)), axis=1)
    found = explained_variance(np.exp(path[:, :3]), path[:, 3] ** 3, rng)
    np.testing.assert_allclose(found.value, v, atol=0.04)
    errors = found.replicates.std(axis=0)
    assert (np.abs(found.value - v) < 4 * errors).all()
    assert (errors < 0.02).all()
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()


def test_the_interval_holds_95_percent_of_the_replicates(monkeypatch):
    draws = np.linspace(0.0, 1.0, 1001)[:, None]
    monkeypatch.setattr("llm_validation.rewards.model.bootstrap", lambda *_: (np.array([0.5]), draws))
    found = explained_variance(np.arange(5.0)[:, None], np.arange(5.0), generator(0))
    assert (*found.low, *found.high) == pytest.approx((0.025, 0.975))


def test_explained_variance_of_a_contrary_score_is_zero_and_of_the_reward_itself_one():
    reward = np.arange(50.0)
    found = explained_variance(np.column_stack([-reward, reward]), reward, generator(0, "contrary"))
    assert found.value[0] == 0.0
    assert found.value[1] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="three texts"):
        explained_variance(np.zeros((2, 1)), np.zeros(2), generator(0, "few"))


def test_normal_scores_share_ties():
    scores = normal_scores(np.array([3.0, 1.0, 3.0, 2.0, 9.0]))
    assert scores[0] == scores[2]
    assert scores[3] < 0 < scores[4]
