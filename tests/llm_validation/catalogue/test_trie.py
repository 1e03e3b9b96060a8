"""Exact policies by prefix tree: against padded rows, brute force over all short sequences, and bad catalogues."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from llm_validation.catalogue.trie import (
    agrees_with_rows,
    build_trie,
    last_nodes,
    log_policy,
    log_policy_of_edges,
    log_policy_of_logits,
    row_log_probabilities,
)
from llm_validation.model.model import build

EOS = 0
PROMPTS = [[5, 6, 7], [8]]
RESPONSES = [[[1, 2, EOS], [1, 3, EOS], [4, EOS], [1, 2, 2, EOS]], [[2, EOS], [3, 3, 3, EOS], [3, 3, EOS], [3, 1, EOS]]]


@pytest.fixture(scope="module")
def model():
    return build("smoke", vocab_size=9, context=16, seed=1).eval()


def test_policies_are_those_of_padded_rows(model):
    logs = log_policy(model, build_trie(PROMPTS, RESPONSES))
    assert logs.shape == (2, 5)
    for p in range(2):
        rows = row_log_probabilities(model, PROMPTS[p], RESPONSES[p])
        torch.testing.assert_close(logs[p, :-1], rows, rtol=0, atol=2e-5)
    torch.testing.assert_close(torch.logsumexp(logs, 1), torch.zeros(2), rtol=0, atol=1e-5)


def test_a_response_s_last_node_is_where_its_end_is_predicted():
    trie = build_trie(PROMPTS, RESPONSES)
    for p, own in enumerate(RESPONSES):
        for node, response in zip(last_nodes(trie)[p].tolist(), own, strict=True):
            prompt, place = trie.node[node].tolist()
            read = trie.visible[prompt, place].nonzero()[:, 0]  # what has been read there, in order
            assert prompt == p
            assert trie.tokens[p, read].tolist() == [*PROMPTS[p], *response[:-1]]


def test_the_mass_off_the_catalogue_is_a_sum_over_where_it_leaves():
    """A law without a model: two prompts of one token each, next-token laws drawn at random, off summed by hand."""
    trie = build_trie([[1], [1]], [[[1, EOS], [2, EOS]], [[1, 1, EOS], [2, EOS]]])
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((len(trie.node), 3), generator=generator, dtype=torch.float64)
    p = torch.softmax(logits, 1).numpy()
    law = np.exp(log_policy_of_logits(logits, trie).numpy())
    root, one, two = p[0], p[1], p[2]  # nodes in the order in which they are met
    assert law[0] == pytest.approx(
        [root[1] * one[0], root[2] * two[0], root[0] + root[1] * (1 - one[0]) + root[2] * (1 - two[0])]
    )
    assert law.sum(axis=1) == pytest.approx(1.0)


def test_tiny_masses_off_the_catalogue_keep_their_digits():
    trie = build_trie([[1]], [[[1, EOS], [2, EOS]]])
    logits = torch.tensor([[-60.0, 0.0, 0.0], [0.0, -60.0, -60.0], [0.0, -60.0, -60.0]])
    logs = log_policy_of_logits(logits, trie)
    expected = np.logaddexp.reduce([-60 - np.log(2), np.log(0.5) + np.log(2) - 60, np.log(0.5) + np.log(2) - 60])
    assert float(logs[0, -1]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("off", [0.0, -300.0])
def test_gradients_are_those_of_two_log_sums_also_where_next_to_nothing_leaves(off):
    """The definition by autograd in float64; e^-300 is 0 in float32."""
    trie = build_trie([[1], [1]], [[[1, EOS], [2, EOS]], [[1, 1, EOS], [2, EOS]]])
    source = torch.Generator().manual_seed(0)
    logits = torch.randn((len(trie.node), 5), generator=source)
    logits[:, 3:] += off  # no edge has these tokens
    logits[0, 0] += off
    pulls = torch.randn((2, 3), generator=source)

    def by_definition(table: torch.Tensor) -> torch.Tensor:
        parent, token = trie.edge.T
        stays = torch.zeros_like(table, dtype=torch.bool).index_put((parent, token), torch.tensor(True))
        logs = torch.log_softmax(table, 1)
        leaves = torch.logsumexp(table.masked_fill(stays, -torch.inf), 1) - torch.logsumexp(table, 1)
        return log_policy_of_edges(logs[parent, token], leaves, trie)

    ours, double = logits.clone().requires_grad_(), logits.double().requires_grad_()
    found, expected = log_policy_of_logits(ours, trie), by_definition(double)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-5)
    (found * pulls).sum().backward()
    (expected * pulls).sum().backward()
    torch.testing.assert_close(ours.grad.double(), double.grad, rtol=1e-4, atol=1e-5)
    assert ours.grad.abs().max() > 0.1


@torch.no_grad()
def test_brute_force_over_every_sequence(model):
    """All sequences of up to three tokens: what is not in the catalogue adds up to off, less what is longer."""
    responses = [[2, EOS], [3, EOS], [2, 3, EOS]]
    logs = log_policy(model, build_trie([[5]], [responses]))
    every = [[*body, EOS] for n in range(3) for body in itertools.product(range(1, 9), repeat=n)]
    short = torch.exp(torch.cat([row_log_probabilities(model, [5], [s]) for s in every])).sum()
    on = logs[0, :-1].exp().sum()
    off_short = short - on
    assert 0 < float(off_short) < float(logs[0, -1].exp())
    longer = sum(
        float(torch.exp(row_log_probabilities(model, [5], [[a, b, c]])))
        for a in range(1, 9)
        for b in range(1, 9)
        for c in range(1, 9)
    )
    assert float(logs[0, -1].exp()) == pytest.approx(float(off_short) + longer, abs=1e-5)


def test_gradients_flow_through_the_tree(model):
    logs = log_policy(model, build_trie(PROMPTS, RESPONSES))
    gradient = torch.autograd.grad(logs[0, 0], model.get_input_embeddings().weight)[0]
    assert float(gradient.abs().sum()) > 0


def test_other_architectures_take_the_tree_too():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=9, n_positions=16, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    other = GPT2LMHeadModel(config).eval()
    agrees_with_rows(other, build_trie(PROMPTS, RESPONSES), PROMPTS[0], RESPONSES[0], 1e-4)


def test_a_model_that_changes_its_logits_is_refused(model, monkeypatch):
    trie, forward = build_trie(PROMPTS, RESPONSES), model.forward

    def capped(*args, **kwargs):
        out = forward(*args, **kwargs)
        out.logits = 0.1 * torch.tanh(out.logits)
        return out

    monkeypatch.setattr(model, "forward", capped)
    with pytest.raises(ValueError, match="does not support tree attention"):
        agrees_with_rows(model, trie, PROMPTS[0], RESPONSES[0])


@pytest.mark.parametrize(
    ("responses", "named"),
    [
        ([[1, EOS], [1, EOS]], "responses 0 and 1 of prompt 0 are the same"),
        ([[1], [1, 2]], "response 0 of prompt 0 is a prefix of response 1"),
        ([[1, EOS], []], "response 1 of prompt 0 is empty"),
    ],
)
def test_bad_catalogues_are_named(responses, named):
    with pytest.raises(ValueError, match=named):
        build_trie([[5]], [responses])


def test_bad_prompts_are_named():
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        build_trie([[5], []], [[[1, EOS]], [[1, EOS]]])
    with pytest.raises(ValueError, match="prompt 1 has 2 responses, prompt 0 has 1"):
        build_trie([[5], [5]], [[[1, EOS]], [[1, EOS], [2, EOS]]])
