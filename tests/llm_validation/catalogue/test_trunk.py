"""Training a part of a model on a trunk that runs once, and catalogues whose law is measured as it is."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from llm_validation.catalogue import head
from llm_validation.catalogue.measured import chat_tokens, measured, on_the_catalogue, one_word_apart, own_answers
from llm_validation.catalogue.texts import Encoded
from llm_validation.catalogue.train import Task, train_one
from llm_validation.catalogue.trie import build_trie, log_policy
from llm_validation.catalogue.trunk import Top, trainer_of
from llm_validation.model.model import Loaded, build
from llm_validation.runs.real import natural, predicted_ratios, random_classes, ratios
from llm_validation.training.schedule import Schedule
from tests.oracles.gguf_file import tiny_tokenizer

SCHEDULE = Schedule(steps=6, rate=3e-3, warmup=0, record=2)


@pytest.fixture(scope="module")
def reference():
    """A measured reference on answers of a tiny model."""
    tokenizer = tiny_tokenizer()
    loaded = Loaded(build("smoke", len(tokenizer), context=256, seed=1).requires_grad_(False), tokenizer)
    answers = own_answers(loaded, ["of the sea", "of ships"], 5, 24, seed=0)
    return measured(loaded, answers, seed=0, schedule=SCHEDULE, trainer=trainer_of("top:1"))


def objective(_, logs):
    return (logs[:, 0] - logs[:, 1]).sum() - 0.1 * logs[:, 2].sum()


def test_top_blocks_on_a_trunk_train_as_in_the_whole_model(reference, monkeypatch):
    monkeypatch.setattr(head, "ROWS", 37)  # of a head of some hundred rows
    monkeypatch.setattr(head, "LIKELY", 0.01)
    monkeypatch.setattr(head, "REFRESH", 1)
    before = {name: value.clone() for name, value in reference.source.state_dict().items()}
    apart = reference.train(objective, "apart")
    whole = copy.deepcopy(reference.source)
    for part in (whole.model.layers[-1], whole.model.norm):
        part.requires_grad_(True)
    together = train_one(Task(whole, reference.trie(), objective, SCHEDULE))
    np.testing.assert_allclose(apart.path, together.path, atol=2e-5)
    assert np.abs(apart.path[-1] - apart.path[0]).max() > 0.1
    assert all(torch.equal(value, before[name]) for name, value in reference.source.state_dict().items())


def test_top_blocks_of_another_architecture_are_the_whole_model_on_its_trunk():
    config = Qwen3Config(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=64,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config).eval().requires_grad_(False)
    trie = build_trie([(3, 4, 5), (6,)], [[(7, 8, 1), (7, 9, 1), (10, 1)], [(11, 1), (12, 13, 1), (12, 1)]])
    task = Task(model, trie, lambda _, logs: logs[:, 0].sum(), replace(SCHEDULE, steps=1, record=1))
    np.testing.assert_allclose(trainer_of("top:2")(task).path[0], log_policy(model, trie).numpy(), atol=1e-5)

    model.lm_head = torch.nn.Linear(32, 64)  # as in PhiMoE
    with pytest.raises(ValueError, match="top:2 needs an output head without a bias"):
        trainer_of("top:2")(task)


def test_a_trunk_is_of_a_tree_and_not_of_its_tokens():
    """4 5 and 6, or 4, 5 and 6: the same tokens in the same places, which see others."""
    model, prompt = build("smoke", vocab_size=16, context=32, seed=0), [(3,)]
    chain, star = (build_trie(prompt, [own]) for own in (((4, 5, 1), (6, 1)), ((4, 1), (5, 1), (6, 1))))
    assert torch.equal(chain.tokens, star.tokens)
    top = Top(1)
    kept = top.trunk(model, chain)
    assert top.trunk(model, build_trie(prompt, [((4, 5, 1), (6, 1))])) is kept, "of equal trees it is run once"
    assert torch.equal(top.trunk(model, star), Top(1).trunk(model, star))
    assert not torch.equal(top.trunk(model, star), kept)


def test_low_rank_additions_train_and_leave_the_model_alone(reference):
    pytest.importorskip("peft")
    before = reference.source.model.layers[0].mlp.up_proj.weight.clone()
    trained = replace(reference, trainer=trainer_of("lora:2")).train(objective, "low rank")
    assert trained.loss[-1] < trained.loss[0] - 0.05
    assert torch.equal(reference.source.model.layers[0].mlp.up_proj.weight, before)
    assert [name for name, _ in reference.source.named_parameters() if "lora" in name] == []


@pytest.mark.parametrize("how", ["top", "top:0", "lora:x", "bottom:2"])
def test_other_ways_to_train_are_refused(how):
    with pytest.raises(ValueError, match="must be all, top:K or lora:R"):
        trainer_of(how)


def test_more_blocks_than_there_are_is_an_error(reference):
    with pytest.raises(ValueError, match="top:3 needs a model"):
        replace(reference, trainer=trainer_of("top:3")).train(objective, "too many")


def test_a_prompt_is_a_turn_of_the_chat_or_a_text_as_the_tokenizer_begins_one():
    tokenizer = tiny_tokenizer()
    said = "<|im_start|>user\nof ships<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(chat_tokens(tokenizer, "of ships")) == said
    tokenizer.chat_template = None
    assert tokenizer.decode(chat_tokens(tokenizer, "of ships")) == "<|endoftext|>of ships"


def test_answers_are_the_models_own_different_and_ended(reference):
    end = 0
    for own in reference.encoded.responses:
        assert len(set(own)) == len(own) == 5
        end = own[0][-1]
        assert all(tokens[-1] == end and end not in tokens[:-1] for tokens in own)
    assert reference.log_law.shape == (2, 6)
    np.testing.assert_allclose(np.exp(reference.log_law).sum(1), 1.0)
    apart = one_word_apart(reference.source, reference.encoded)
    for old, new in zip(reference.encoded.responses, apart.responses, strict=True):
        assert old[:-1] == new[:-1]
        assert sum(a != b for a, b in zip(new[0], new[-1], strict=True)) == 1
        assert len(set(new)) == 5


class Says(torch.nn.Module):
    """After any text the tokens in this order, the likeliest first."""

    def __init__(self, *tokens: int) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(-torch.tensor(tokens).argsort().float())

    def forward(self, input_ids):
        return SimpleNamespace(logits=self.logits.expand(1, input_ids.shape[1], -1))


def test_the_other_word_neither_ends_a_response_nor_repeats_one():
    own = ((2, 3, 4, 0), (2, 5, 0), (2, 6, 4, 0), (6, 1, 0))
    (apart,) = one_word_apart(Says(0, 3, 5, 6, 1, 2, 4), Encoded(((1,),), (own,))).responses
    assert apart == (*own[:-1], (2, 1, 4, 0))


def test_a_choice_among_answers_reaches_the_tilted_law_from_rare_answers(reference):
    chosen = on_the_catalogue(replace(reference, schedule=Schedule(steps=60, rate=3e-3)))
    payoff = np.linspace(-1.0, 1.0, 5) * np.ones((2, 1))
    tensor = chosen.tensor(payoff)
    law = chosen.train(natural(chosen, lambda _: tensor), "choice").policy[:, :-1]
    tilted = np.exp(chosen.log_law[:, :-1] + payoff)
    np.testing.assert_allclose(law, tilted / tilted.sum(1, keepdims=True), atol=0.01)


def test_predictions_are_the_free_minimisers_where_off_takes_up_the_rest(reference):
    rare = np.column_stack([np.full((2, 5), -20.0), np.zeros(2)])
    rare[:, -1] = np.log1p(-5.0 * np.exp(-20.0))
    far = replace(reference, log_law=rare)
    classes = random_classes(far)
    for law in (classes.chosen_law, classes.rejected_law):
        np.testing.assert_allclose(law.sum(axis=1), 1.0)
    ratio = np.log(classes.chosen / classes.rejected)
    np.testing.assert_allclose(predicted_ratios(far, classes, "ddro"), ratio, atol=1e-6)
    mixed = np.log(classes.chosen / (0.5 * classes.chosen + 0.5 * classes.rejected))
    np.testing.assert_allclose(predicted_ratios(far, classes, "rdro"), mixed, atol=1e-6)


def test_a_loss_ends_at_its_prediction(reference, monkeypatch):
    monkeypatch.setattr(head, "LIKELY", 0.01)  # of most rows the sum is followed, and taken again every ten steps
    longer = replace(reference, schedule=Schedule(steps=120, rate=3e-3))
    error, _, slope = (row.value for row in ratios(longer, "rdro"))
    assert error < 0.02
    assert slope == pytest.approx(1.0, abs=0.01)
    short, _, _ = (row.value for row in ratios(reference, "rdro"))
    assert short > 0.1


def test_answers_of_the_last_draw_count(reference, monkeypatch):
    loaded = Loaded(reference.source, tiny_tokenizer())
    monkeypatch.setattr("llm_validation.catalogue.measured.ROUNDS", 1)
    assert [len(own) for own in own_answers(loaded, ["of the sea", "of ships"], 1, 24, seed=0).responses] == [1, 1]
    with pytest.raises(ValueError, match=r"'of the sea': \d+ different answers .* in 32 draws, 33 are needed"):
        own_answers(loaded, ["of the sea"], 33, 24, seed=0)
