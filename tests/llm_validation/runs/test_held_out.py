"""P15 on a language model: the head ends where its features say; other features, or a wrong weight, are noticed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from llm_validation.catalogue.trie import log_policy_of_logits
from llm_validation.model.model import build, load, save
from llm_validation.profiles import PROFILES
from llm_validation.runs import held_out
from llm_validation.runs.run import Context
from llm_validation.text.corpus import train_tokenizer
from llm_validation.text.language import ANIMALS, NAMES, PLACES, opening
from llm_validation.training.schedule import Schedule
from simulate.montecarlo import generator
from tests.oracles.people import few_people
from tests.oracles.rows import verdicts
from theory.claim import Verdict
from theory.proximal import held_out as theory


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    monkeypatch.setattr(held_out, "DRAWS", 2)


def test_a_ratio_of_sums_has_the_error_of_its_draws():
    """Parts over equal wholes: their mean, and its standard error; of an error the largest."""
    draws = [{"trained_slope": (part, 2.0), "trained_error": (part, 1.0)} for part in (1.0, 2.0, 3.0)]
    slope, error = held_out.ratios("real_", {"pro": draws})
    each = np.array([0.5, 1.0, 1.5])
    assert (slope.check, slope.setting, slope.estimate.n) == ("real_trained_slope", {"method": "pro"}, 3)
    assert (slope.value, slope.estimate.stderr) == pytest.approx((each.mean(), each.std(ddof=1) / np.sqrt(3)))
    assert (error.value, error.estimate.stderr) == (3.0, 0.0)


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    """A model that was never trained, and a tokenizer that knows the stories' words."""
    folder = tmp_path_factory.mktemp("held_out")
    words = [opening(n, a, PLACES[i % len(PLACES)]) for i, n in enumerate(NAMES) for a in ANIMALS]
    tokenizer = train_tokenizer(words, 400)
    save(build("smoke", len(tokenizer), 32, seed=0), tokenizer, folder / "base")
    profile = replace(PROFILES["smoke"], runs=Schedule(steps=3, rate=1e-3))
    return Context(folder / "base", folder, profile, few_people(), {})


def judged(context: Context) -> dict[str, set[Verdict]]:
    return verdicts(held_out.real_held_out(load(context.base), context.profile.runs, 0))


def test_the_head_ends_where_the_features_say_and_two_steps_of_all_weights_do_not(context):
    assert judged(context) == {
        "trained_slope": {"agrees"}, "trained_error": {"agrees"}, "trained_moved": {"agrees"},
        "full_slope": {"disagrees"}, "full_explained": {"disagrees"}, "full_beyond": {"disagrees"},
    }  # fmt: skip


@pytest.mark.parametrize(("turn", "beta"), [(1, 1.0), (0, 1.05)])
def test_other_features_or_a_kl_beta_five_per_cent_off_are_noticed(context, monkeypatch, turn, beta):
    right = theory.optimum
    wrong = lambda phi, told, kl_beta: right(np.roll(phi, turn, axis=0), told, beta * kl_beta)
    monkeypatch.setattr(theory, "optimum", wrong)
    found = judged(context)
    assert found["trained_slope"] == {"disagrees"}
    assert "disagrees" in found["trained_error"]


@pytest.mark.parametrize(("method", "turn", "agree"), [("pro", 0, True), ("dpo", 0, True), ("dpo", 1, False)])
def test_descent_on_all_weights_ends_where_their_gradients_say_where_little_moves(
    context, monkeypatch, method, turn, agree
):
    """And not where the gradients of other prompts say. AdamW on the same loss ends elsewhere."""
    right = theory.descended
    monkeypatch.setattr(theory, "descended", lambda phi, *words: right(np.roll(phi, turn, axis=0), *words))
    draw = held_out.story_reference(load(context.base), context.profile.runs, 0, generator(0))
    sums = held_out.tangent_sums(method, *draw, held_out.gradient_products(draw[0]))
    found = {name: part / whole for name, (part, whole) in sums.items()}
    assert (abs(found["tangent_slope"] - 1.0) < 0.02) == (found["tangent_explained"] > 0.98) == agree
    assert found["tangent_adamw"] < 0.5


def test_half_of_descent_s_rate_is_noticed_under_pro(context, monkeypatch):
    """Its optimum is farther off than the steps go, so that the prediction must count them."""
    monkeypatch.setattr(held_out, "DESCENT", replace(held_out.DESCENT, steps=20))
    right = theory.descended
    halved = lambda phi, told, beta, rates, momentum: right(phi, told, beta, np.divide(rates, 2.0), momentum)
    monkeypatch.setattr(theory, "descended", halved)
    draw = held_out.story_reference(load(context.base), context.profile.runs, 0, generator(0))
    part, whole = held_out.tangent_sums("pro", *draw, held_out.gradient_products(draw[0]))["tangent_slope"]
    assert abs(part / whole - 1.0) > 0.02


def test_no_row_of_the_head_but_the_responses_has_a_gradient(context):
    reference, compared = held_out.story_reference(load(context.base), context.profile.runs, 0, generator(0))
    head = reference.model().get_output_embeddings().weight.detach().double().requires_grad_()
    logs = log_policy_of_logits(held_out.states_of(reference) @ head.T, reference.trie())
    for method in ("pro", "dpo"):
        (found,) = torch.autograd.grad(held_out.loss_of(method, reference, compared)(0, logs), head, retain_graph=True)
        rows = [token for (token,) in reference.encoded.responses[0]]
        assert found[rows].abs().max() > 1e-3
        found[rows] = 0.0
        assert found.abs().max() < 1e-12


def test_draws_of_one_stack_end_where_each_ends_alone(context, monkeypatch):
    monkeypatch.setattr(held_out, "DESCENT", replace(held_out.DESCENT, steps=12))
    rng = generator(0)
    draws = [held_out.story_reference(load(context.base), context.profile.runs, 0, rng) for _ in range(2)]
    draws = [(*draw, held_out.gradient_products(draw[0])) for draw in draws]
    ends = lambda sums: [own["tangent_slope"] for own in sums["pro"] + sums["dpo"]]  # AdamW makes much of rounding
    alone, together = (ends(how(held_out.tangent_sums, draws)) for how in (held_out._alone, held_out._together))
    np.testing.assert_allclose(together, alone, rtol=1e-3)
