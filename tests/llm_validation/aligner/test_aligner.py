"""Aligner on a small language model: known entropies, exact kernels by two routes, training that reaches its floor."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from llm_validation.aligner import edit_process
from llm_validation.aligner.aligner import (
    Fit,
    Triples,
    answer_losses,
    contexts_of,
    corrector_kernels,
    draw_from,
    exact_laws,
    fit,
    held_out_losses,
    mean_loss,
    sample_corrections,
    sample_upstream,
    upstream_laws,
    write_answers,
)
from llm_validation.aligner.edit_process import edit_problem, product_kernel, product_laws, slot_kernel, utilities
from llm_validation.aligner.texts import corrections_objective
from llm_validation.catalogue.trie import log_policy
from llm_validation.model.model import build
from llm_validation.preferences.objectives import PreferenceTraining
from llm_validation.training.loop import TrainingDiverged
from simulate.montecarlo import generator
from tests.oracles.toy_preferences import preferences
from theory.correction import composition, copying


@pytest.fixture(scope="module")
def problem(tokenizer):
    return edit_problem(tokenizer, 64)


@pytest.fixture(scope="module")
def base(tokenizer):
    return build("smoke", len(tokenizer), 64, seed=0).eval()


@pytest.fixture(scope="module")
def triples(problem):
    process = problem.process
    return draw_from(process.prompts, process.policies, process.kernels)


@pytest.fixture(scope="module")
def corrector(base, problem, triples):
    """Warmed up on identity pairs and trained on corrections, from random weights: some ten seconds."""
    process = problem.process
    uniform = np.full_like(process.policies, 1 / problem.n_answers)
    identity = draw_from(process.prompts, uniform, process.kernels, identity_share=1.0)
    warm = fit(base, problem, identity, Fit(120, 1024, 6e-3), 0, sees_original=True)
    return fit(warm, problem, triples, Fit(60, 1024, 4e-3), 0, sees_original=True)


# the edit process


def test_floors_are_sums_over_slots(problem):
    """H(C|X,O), H(C|X) and I(C;O|X) of independent slots, summed by hand."""
    process, K = problem.process, slot_kernel()
    np.testing.assert_allclose(K[0], [0.3 + 0.07, 0.14, 0.21, 0.28])
    entropy = lambda p: -float(np.sum(p * np.log(p)))
    laws = edit_process.UPSTREAM["training"]
    slots = len(edit_process.SLOTS)
    aligner = slots * sum(w * law @ [entropy(row) for row in K] for w, law in zip(process.prompts, laws, strict=True))
    sft = slots * sum(w * entropy(law @ K) for w, law in zip(process.prompts, laws, strict=True))
    floors = composition.floors(process.prompts, process.policies, process.kernels)
    assert floors.aligner == pytest.approx(aligner, rel=1e-12)
    assert floors.sft == pytest.approx(sft, rel=1e-12)
    assert floors.gain == pytest.approx(sft - aligner, rel=1e-10)


def test_draws_follow_the_process(problem, triples):
    process, count = problem.process, 200_000
    drawn = triples(generator(0, "draws"), count)
    joint = np.zeros_like(process.joint)
    np.add.at(joint, (drawn.prompt, drawn.original, drawn.correction), 1 / count)
    expected = process.joint
    error = np.sqrt(expected * (1 - expected) / count)
    assert (np.abs(joint - expected) < 5.5 * error + 2 / count).all()


def test_identity_pairs_come_at_their_share(problem):
    process = problem.process
    moving = np.roll(np.eye(problem.n_answers), 1, axis=1)
    kernels = np.broadcast_to(moving, process.kernels.shape)
    drawn = draw_from(process.prompts, process.policies, kernels, 0.25)(generator(0, "share"), 40_000)
    assert np.mean(drawn.original == drawn.correction) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 40_000))


def test_texts_are_read_back(problem, tokenizer):
    text = tokenizer.decode(list(problem.corrector_prompt(0, 5))[1:])
    assert text == "Mia the fox lived in the forest. She found a big kite." + edit_process.MARK
    assert [problem.place(1, answer) for answer in problem.answers[1]] == list(range(problem.n_answers))
    assert problem.place(0, (1, 2, 3)) == -1
    assert utilities()[0] == 0.0
    assert utilities()[-1] == 1.0
    assert utilities()[1] == pytest.approx(1 / 6)


def test_bad_input_is_named(problem, tokenizer, base):
    process = problem.process
    with pytest.raises(ValueError, match=r"identity_share = 1.5"):
        draw_from(process.prompts, process.policies, process.kernels, 1.5)
    wrong = np.array(process.kernels)
    wrong[1, 3] *= 0.5
    with pytest.raises(ValueError, match=r"kernel row of prompt 1, answer 3 sums to 0\.5"):
        draw_from(process.prompts, process.policies, wrong)
    with pytest.raises(ValueError, match=r"prompt 0 with answer 0 and a correction as long has .* the context 12"):
        edit_problem(tokenizer, 12)
    with pytest.raises(ValueError, match=r"answers\[1\] is empty"):
        answer_losses(base, [(0,), (0,)], [(5,), ()])
    with pytest.raises(ValueError, match="row 0 has 70 tokens, the context 64"):
        answer_losses(base, [(0,) * 60], [(5,) * 10])


# losses and exact laws


def test_losses_count_the_answer_and_its_end_alone(base):
    context, answer = (0, 9, 8), (7, 6, 0)
    with torch.no_grad():
        (loss,) = answer_losses(base, [context], [answer])
        logs = torch.log_softmax(base(input_ids=torch.tensor([context + answer])).logits[0], -1)
        by_hand = -sum(logs[place - 1, token] for place, token in zip((3, 4, 5), answer, strict=True))
        both = answer_losses(base, [context, (0,)], [answer, (5, 4, 3, 2, 0)])
    assert float(loss) == pytest.approx(float(by_hand), abs=1e-5)
    assert float(both[0]) == pytest.approx(float(loss), abs=1e-5)


@pytest.mark.parametrize("sees_original", [True, False])
def test_triples_have_the_same_loss_and_gradient_on_trees_as_row_by_row(base, problem, triples, sees_original):
    """What training minimises against the mean over teacher-forced rows, one of each triple: by weight, to 1e-5."""
    drawn = triples(generator(4, "both ways"), 100)
    read = contexts_of(problem, sees_original=sees_original)
    by_trees = mean_loss(log_policy(base, read.trie()), drawn, problem, sees_original=sees_original)
    numbers = zip(drawn.prompt.tolist(), drawn.original.tolist(), drawn.correction.tolist(), strict=True)
    rows = [
        (problem.corrector_prompt(p, o) if sees_original else problem.prompts[p], problem.answers[p][c])
        for p, o, c in numbers
    ]
    by_rows = answer_losses(base, *zip(*rows, strict=True)).mean()
    torch.testing.assert_close(by_trees, by_rows, rtol=1e-5, atol=0.0)
    weights = list(base.parameters())
    for ours, theirs in zip(torch.autograd.grad(by_trees, weights), torch.autograd.grad(by_rows, weights), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    held_out = held_out_losses(base, problem, drawn, sees_original=sees_original)
    assert held_out.mean() == pytest.approx(by_rows.item(), rel=1e-5)


def test_exact_kernels_are_the_exponentials_of_the_losses(corrector, problem):
    found = corrector_kernels(corrector, problem)
    A = problem.n_answers
    np.testing.assert_allclose(found.laws.sum(-1), 1.0, atol=1e-12)
    every = Triples(np.ones(A, dtype=int), np.full(A, 6), np.arange(A))
    mass = np.exp(-held_out_losses(corrector, problem, every, sees_original=True))
    np.testing.assert_allclose(mass / mass.sum(), found.laws[1, 6], atol=1e-6)
    assert 1 - mass.sum() == pytest.approx(found.off[1, 6], abs=1e-4)


def test_laws_at_a_temperature_are_those_of_sampling_at_it(corrector, problem):
    """Frequencies of sampled corrections at temperature ½ and 1 against the exact laws, off the list included."""
    context, n = problem.corrector_prompt(0, 2), 1500
    prompt = np.zeros(n, dtype=int)
    for temperature in (0.5, 1.0):
        exact = exact_laws(corrector, [context], [problem.answers[0]], temperature)
        sampled = write_answers(corrector, problem, prompt, [context] * n, 1, temperature)
        expected = np.append(exact.laws[0] * (1 - exact.off[0]), exact.off[0])
        seen = np.bincount(np.where(sampled < 0, problem.n_answers, sampled), minlength=problem.n_answers + 1) / n
        assert (np.abs(seen - expected) < 4.5 * np.sqrt(expected * (1 - expected) / n) + 2 / n).all()


# training


def test_a_corrector_approaches_its_floor_and_copies_what_it_should(corrector, problem, triples):
    process = problem.process
    floors = composition.floors(process.prompts, process.policies, process.kernels)
    loss = held_out_losses(corrector, problem, triples(generator(1, "held out"), 1500), sees_original=True)
    error = loss.std() / math.sqrt(loss.size)
    assert loss.mean() > floors.aligner - 4 * error
    assert loss.mean() < 1.1 * floors.aligner
    assert loss.mean() + 4 * error < floors.sft
    kernels = corrector_kernels(corrector, problem).laws
    predicted = copying.unchanged_share(process.policies[0], process.kernels[0])
    assert copying.unchanged_share(process.policies[0], kernels[0]) == pytest.approx(predicted, abs=0.06)


def test_the_stack_writes_what_theory_says(corrector, problem):
    """Sampled corrections of a fixed law of answers: mean utility against the composed law of the true kernel."""
    process, u = problem.process, utilities()
    policy = product_laws(edit_process.UPSTREAM["weak"])[0]
    original = generator(3, "originals").choice(problem.n_answers, size=1200, p=policy)
    written = sample_corrections(corrector, problem, np.zeros(1200, dtype=int), original, 5)
    listed = written >= 0
    assert listed.mean() > 0.97
    gains = u[written[listed]] - u[original[listed]]
    assert gains.mean() == pytest.approx(
        composition.gain(policy, process.kernels[0], u), abs=4 * gains.std() / 34 + 0.02
    )


def test_fitting_leaves_the_model_alone_and_is_repeatable(base, problem, triples):
    before = base.model.layers[0].mlp.up_proj.weight.clone()
    first, second = (fit(base, problem, triples, Fit(3, 8, 1e-3), 2, sees_original=False) for _ in range(2))
    assert torch.equal(before, base.model.layers[0].mlp.up_proj.weight)
    assert torch.equal(first.model.layers[0].mlp.up_proj.weight, second.model.layers[0].mlp.up_proj.weight)
    assert not torch.equal(before, first.model.layers[0].mlp.up_proj.weight)
    other = fit(base, problem, triples, Fit(3, 8, 1e-3), 3, sees_original=False)
    assert not torch.equal(other.model.layers[0].mlp.up_proj.weight, first.model.layers[0].mlp.up_proj.weight)


def test_an_upstream_model_learns_its_law(base, problem):
    process = problem.process
    still = np.broadcast_to(np.eye(problem.n_answers), process.kernels.shape)
    draw = draw_from(process.prompts, process.policies, still)
    found = upstream_laws(fit(base, problem, draw, Fit(80, 1024, 6e-3), 0, sees_original=False), problem)
    distance = np.abs(found.laws - process.policies).sum(axis=1) / 2
    assert distance.max() < 0.05
    assert found.off.max() < 0.1


def test_training_that_diverges_is_named(tokenizer, problem, triples):
    broken = build("smoke", len(tokenizer), 64, seed=0)
    with torch.no_grad():
        broken.model.embed_tokens.weight[0] = torch.nan
    with pytest.raises(TrainingDiverged, match="bad: step 0 of 2 has loss nan"):
        fit(broken, problem, triples, Fit(2, 8), 0, sees_original=True, name="bad")


def test_what_is_off_the_list_is_minus_one(base, problem):
    """An untrained model writes nothing that is listed."""
    assert (sample_upstream(base, problem, np.zeros(8, dtype=int), 0) == -1).all()


def test_the_learning_rate_rises_stays_and_falls_to_zero():
    how = Fit(steps=90, rate=2.0)
    assert how.schedule.rate_at(0) == pytest.approx(0.2)
    assert how.schedule.rate_at(30) == how.schedule.rate_at(60) == 2.0
    assert how.schedule.rate_at(75) == pytest.approx(1.0)
    assert how.schedule.rate_at(89) < 0.07


def test_the_product_kernel_is_one_of_independent_slots():
    K, slot = product_kernel(), slot_kernel()
    assert K[6, 3] == pytest.approx(slot[1, 0] * slot[2, 3])
    np.testing.assert_allclose(K.sum(axis=1), 1.0)


def test_training_ends_early_once_the_loss_is_low(base, problem, triples):
    """A bound that every loss is below ends it after one step; one that none is below never does."""
    early = fit(base, problem, triples, Fit(30, 4, 1e-3), 0, sees_original=False, stop_below=100.0)
    cut = fit(base, problem, triples, Fit(30, 4, 1e-3), 0, sees_original=False, stop_below=0.0)
    full = fit(base, problem, triples, Fit(30, 4, 1e-3), 0, sees_original=False)
    start, *weights = [model.model.layers[0].mlp.up_proj.weight.detach() for model in (base, early, cut, full)]
    assert torch.equal(weights[1], weights[2])
    moved = [float((weight - start).abs().max()) for weight in weights]
    assert moved[0] == pytest.approx(1e-4, rel=0.01)  # one step of Adam at a tenth of the rate
    assert moved[2] > 10 * moved[0]


def test_a_corrector_copies_answers_first_and_then_learns_every_correction_once_an_epoch():
    objective = corrections_objective(preferences(10), warm_up=7)
    plan = objective.plan(PreferenceTraining(seed=0, epochs=2, batch=4))
    assert all(chosen.size == 0 < rejected.size for chosen, rejected in plan[:7])
    assert all(rejected.size == 0 < chosen.size for chosen, rejected in plan[7:])
    assert sorted(np.concatenate([chosen for chosen, _ in plan[7:]])) == sorted([*range(10)] * 2)
