"""Aligner on a trained language model: A1–A6, against what theory says of the edit process its data came from.

One corrector is trained on Q-A-C triples after an identity warm-up, one model on the same corrections without the
originals (SFT), and upstream models that the corrector never sees data from: the pretrained model's fine-tunings on
the training law at several temperatures and on another law, the SFT model, and a distilled one. Their laws are
measured by teacher forcing, and the predictions start from these and the true kernel. What is compared with them is
sampled from the stack, token by token, and computed from the corrector's measured kernel.

Differences are measured − predicted; the notes hold both. Shapes: P prompts, A answers, n samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_validation.aligner.aligner import (
    Fit,
    Index,
    Laws,
    corrector_kernels,
    draw_from,
    fit,
    held_out_losses,
    sample_corrections,
    sample_upstream,
    upstream_laws,
)
from llm_validation.aligner.edit_process import UPSTREAM, Problem, edit_problem, product_laws, utilities
from llm_validation.catalogue.reference import total_variation
from llm_validation.model.model import load
from llm_validation.profiles import Correction
from llm_validation.runs.correction_bootstrap import by_pairs
from llm_validation.runs.kernels import composed, gains, transfer_bounds, unchanged_shares
from llm_validation.runs.run import Context, Run
from simulate.montecarlo import Estimate, generator, mean
from simulate.rows.measurement import Measurement, measurement
from theory.correction import composition, repetition
from theory.validate import Array

#: Share of identity pairs in joint training (A5); rounds of correction (A4) and of distillation (A6).
IDENTITY_SHARE, ROUNDS, DISTILLATIONS = 0.3, (1, 2, 4), 2
#: The identity warm-up ends at the first loss below this, nats: copying is learnt slot by slot, after plateaus whose
#: length varies between seeds, and a corrector that starts before the last slot stays above its floor.
COPYING_LEARNT = 0.05
#: An error of a gain, in utilities of at most one, that is rounding.
ROUNDING = 1e-12
#: Upstream models at other temperatures than 1.
TEMPERATURES = {"cold": 0.6, "hot": 1.3}


@dataclass(frozen=True, eq=False)
class Upstream:
    """An upstream model: its exact laws (P, A) and `off` (P,), and the model with its sampling temperature."""

    name: str
    model: Any
    temperature: float
    laws: Laws


@dataclass(frozen=True, eq=False)
class Models:
    """Trained models of one seed, and the corrector's measured kernels (P, A, A)."""

    problem: Problem
    profile: Correction
    seed: int
    base: Any
    corrector: Any
    kernels: Laws
    copied: dict[int, float]
    sft: Any
    upstreams: tuple[Upstream, ...]

    def average(self, values: Array) -> float:
        """Over prompts (P,)."""
        return float(self.problem.process.prompts @ values)


def _how(profile: Correction, steps: int) -> Fit:
    return Fit(steps, profile.batch, profile.rate)


def prepare(context: Context, seed: int) -> Models:
    """Train the corrector (warm-up, then corrections), SFT, and the upstream models."""
    profile, loaded = context.profile.correction, load(context.base).to(context.device)
    base: Any = loaded.model
    problem = edit_problem(loaded.tokenizer, getattr(base.config, "max_position_embeddings", 10**9))
    process, copied = problem.process, {}
    uniform = np.full_like(process.policies, 1.0 / problem.n_answers)
    triples = draw_from(process.prompts, process.policies, process.kernels)
    identity = draw_from(process.prompts, uniform, process.kernels, identity_share=1.0)
    how = _how(profile, profile.warmup)
    warm = fit(base, problem, identity, how, seed, sees_original=True, stop_below=COPYING_LEARNT, name="warm-up")
    copied[0] = _unchanged(warm, problem)
    corrector = fit(warm, problem, triples, _how(profile, profile.steps), seed, sees_original=True, name="corrector")
    copied[profile.steps] = _unchanged(corrector, problem)
    sft = fit(base, problem, triples, _how(profile, profile.steps), seed, sees_original=False, name="sft")
    return Models(
        problem, profile, seed, base, corrector, corrector_kernels(corrector, problem), copied, sft,
        _upstreams(base, sft, problem, profile, seed),
    )  # fmt: skip


def _upstreams(base: Any, sft: Any, problem: Problem, profile: Correction, seed: int) -> tuple[Upstream, ...]:
    """Fine-tunings of the base on answers: an identity kernel makes the "correction" the answer itself."""
    process = problem.process
    still = np.broadcast_to(np.eye(problem.n_answers), process.kernels.shape)
    trained: dict[str, Any] = {}
    for name in ("training", "weak"):
        draw = draw_from(process.prompts, product_laws(UPSTREAM[name]), still)
        how = _how(profile, profile.further_steps)
        trained[name] = fit(base, problem, draw, how, seed, sees_original=False, name=f"upstream {name}")
    models = [("same law", trained["training"], 1.0), ("weak", trained["weak"], 1.0), ("corrected", sft, 1.0)]
    models += [(name, trained["training"], temperature) for name, temperature in TEMPERATURES.items()]
    models.append(("weak and hot", trained["weak"], TEMPERATURES["hot"]))
    return tuple(Upstream(name, model, t, upstream_laws(model, problem, t)) for name, model, t in models)


def _unchanged(corrector: Any, problem: Problem) -> float:
    """Σ_x p(x) Σ_o π(o|x) K_φ(o|x,o) on the training laws."""
    process, kernels = problem.process, corrector_kernels(corrector, problem).laws
    return float(process.prompts @ unchanged_shares(process.policies, kernels))


def training(models: Models) -> list[Measurement]:
    """A1: losses against their floors, and their difference against I(C;O|X). A2: the sides of the bound."""
    problem, process = models.problem, models.problem.process
    floors = composition.floors(process.prompts, process.policies, process.kernels)
    draw = draw_from(process.prompts, process.policies, process.kernels)
    triples = draw(generator(models.seed, "held out"), models.profile.held_out)
    aligner = held_out_losses(models.corrector, problem, triples, sees_original=True)
    sft = held_out_losses(models.sft, problem, triples, sees_original=False)
    gap = mean(sft - aligner)
    rows = [
        *(
            measurement("A1", name, {"method": method}, value, error, n)
            for method, loss, floor in (("aligner", mean(aligner), floors.aligner), ("sft", mean(sft), floors.sft))
            for name, value, error, n in (("loss", loss.value, loss.stderr, loss.n), ("floor", floor, 0.0, 1))
        ),
        _ratio("A1", "llm_aligner", mean(aligner), floors.aligner),
        _ratio("A1", "llm_sft", mean(sft), floors.sft),
        measurement("A1", "llm_difference", {}, gap.value - floors.gain, gap.stderr, gap.n,
                 f"measured {gap.value:.4f} ± {gap.stderr:.4f}, I(C;O|X) = {floors.gain:.4f} nats"),
    ]  # fmt: skip
    sides = [
        composition.bound_sides(pi, K, M)
        for pi, K, M in zip(process.policies, process.kernels, models.kernels.laws, strict=True)
    ]
    excess = [s.composed - s.correction - s.prior for s in sides]
    naive = models.average(np.array([s.naive_gap for s in sides]))
    return [
        *rows,
        measurement("A2", "llm_excess", {}, max(excess), 0.0, 1, "−E log πK_φ minus the bound, nats, the worse prompt"),
        measurement(
            "A2", "llm_naive_gap", {}, naive + floors.gain, 0.0, 1, f"measured {naive:.4f}, −I = {-floors.gain:.4f}"
        ),
        measurement(
            "A1", "llm_off", {}, float(models.kernels.off.mean()), 0.0, 1, "mass a corrector writes off the list"
        ),
    ]


def _ratio(claim: str, check: str, loss: Estimate, floor: float) -> Measurement:
    note = f"held-out loss {loss.value:.4f} ± {loss.stderr:.4f}, floor {floor:.4f} nats"
    return measurement(claim, check, {}, loss.value / floor, loss.stderr / floor, loss.n, note)


def stacks(models: Models) -> list[Measurement]:
    """A3 on every upstream model: law and gain from the measured kernel, gain of sampled corrections, its bound."""
    process, u, rows = models.problem.process, utilities(), []
    excess = composition.floors(process.prompts, process.policies, process.kernels)
    for number, upstream in enumerate(models.upstreams):
        setting = {"upstream": upstream.name}
        own, kernels, trained = upstream.laws.laws, process.kernels, models.kernels.laws
        distance = models.average(total_variation(composed(own, kernels), composed(own, trained)))
        predicted, exact = (models.average(gains(own, some, u)) for some in (kernels, trained))
        before, after = _sampled_rounds(models, upstream, number, 1)
        sampled = mean(after - before)
        bound = models.average(transfer_bounds(own, process.policies, kernels, trained, u))
        rows += [
            measurement("A3", "sampled_gain", setting, sampled.value, sampled.stderr, sampled.n),
            measurement("A3", "predicted_gain", setting, predicted),
            measurement("A3", "llm_law", setting, distance, 0.0, 1, "total variation of π K_φ and π K"),
            measurement("A3", "llm_gain", setting, sampled.value - predicted, sampled.stderr, sampled.n,
                     f"sampled {sampled.value:.4f}, measured kernel {exact:.4f}, predicted {predicted:.4f}"),
            measurement("A3", "llm_transfer", setting, of_its_bound(exact - predicted, bound), 0.0, 1,
                     f"error {exact - predicted:+.5f}, bound {bound:.4f}; I(C;O|X) {excess.gain:.3f}"),
        ]  # fmt: skip
    return rows


def of_its_bound(error: float, bound: float) -> float:
    """|error| ÷ bound. An exact corrector has neither: no error, up to rounding, uses nothing of its bound."""
    if abs(error) <= ROUNDING:
        return 0.0
    return abs(error) / bound if bound > 0.0 else math.inf


def _prompts(models: Models, count: int) -> Index:
    """Prompts in proportion to their law, without sampling."""
    shares = np.round(models.problem.process.prompts * count).astype(int)
    return np.repeat(np.arange(shares.size), shares)


def _sampled_rounds(models: Models, upstream: Upstream, number: int, rounds: int) -> list[Array]:
    """Utilities (n,) of the sampled answers after 0 … `rounds` corrections; texts off the list are left out."""
    u, seeds = utilities(), generator(models.seed, "stack", number).integers(2**31, size=rounds + 1).tolist()
    prompt = _prompts(models, models.profile.samples)
    answer = sample_upstream(upstream.model, models.problem, prompt, seeds[0], upstream.temperature)
    asked = prompt.size
    prompt, answer = prompt[answer >= 0], answer[answer >= 0]
    history = [answer]
    for seed in seeds[1:]:
        if prompt.size < 2:
            raise ValueError(
                f"{upstream.name}: {prompt.size} of {asked} sampled texts are on the list: train for longer"
            )
        corrected = sample_corrections(models.corrector, models.problem, prompt, history[-1], seed)
        listed = corrected >= 0
        prompt, history = prompt[listed], [*(past[listed] for past in history), corrected[listed]]
    return [u[answers] for answers in history]


def several_rounds(models: Models) -> list[Measurement]:
    """A4: utility after k sampled rounds, by the true and by the measured kernel; its rate of convergence and limit."""
    process, u, upstream = models.problem.process, utilities(), models.upstreams[1]
    sampled = _sampled_rounds(models, upstream, 100, max(ROUNDS))
    rows = []
    # what training left in each row adds up over rounds: the measured kernel tells it from a failure of the stack
    for check, kernels in (("llm_utility", process.kernels), ("llm_utility_measured", models.kernels.laws)):
        pairs = zip(upstream.laws.laws, kernels, strict=True)
        curves = np.array([repetition.rounds(pi, K, u, max(ROUNDS)) for pi, K in pairs])
        for k in ROUNDS:
            value, predicted = mean(sampled[k]), models.average(curves[:, k])
            note = f"sampled {value.value:.4f}, predicted {predicted:.4f}"
            rows.append(measurement("A4", check, {"k": k}, value.value - predicted, value.stderr, value.n, note))
    rates, limits = [], []
    for K, M in zip(process.kernels, models.kernels.laws, strict=True):
        rates.append((repetition.convergence_rate(M), repetition.convergence_rate(K)))
        limits.append((repetition.limit_law(M) @ u, repetition.limit_law(K) @ u))
    rate, limit = (process.prompts @ np.array(values) for values in (rates, limits))
    for check, (value, predicted), what in (("llm_rate", rate, "|λ₂|"), ("llm_limit", limit, "utility")):
        note = f"{what} {value:.4f} of the measured kernel, predicted {predicted:.4f}"
        rows.append(measurement("A4", check, {}, float(value - predicted), 0.0, 1, note))
    return rows


def copying(models: Models) -> list[Measurement]:
    """A5: unchanged share after joint training with identity pairs, and what is left of the warm-up's copying."""
    problem, process = models.problem, models.problem.process
    joint = draw_from(process.prompts, process.policies, process.kernels, IDENTITY_SHARE)
    how = _how(models.profile, models.profile.steps)
    model = fit(models.corrector, problem, joint, how, models.seed, sees_original=True, name="joint")
    kept = models.average(unchanged_shares(process.policies, process.kernels))
    predicted, measured = IDENTITY_SHARE + (1.0 - IDENTITY_SHARE) * kept, _unchanged(model, problem)
    last = max(models.copied)
    return [
        measurement("A5", "llm_unchanged", {"share": IDENTITY_SHARE}, measured - predicted, 0.0, 1,
                 f"measured {measured:.4f}, predicted {predicted:.4f}"),
        measurement("A5", "llm_warm_up", {}, models.copied[0], 0.0, 1, "unchanged share after identity pairs alone"),
        measurement("A5", "llm_forgotten", {}, models.copied[last] - kept, 0.0, 1,
                 f"unchanged {models.copied[last]:.4f} after corrections alone, kernel {kept:.4f}"),
    ]  # fmt: skip


def distillation(models: Models) -> list[Measurement]:
    """A6: an upstream model that is trained on its own corrected answers, round after round, against πKᵏ."""
    problem, process = models.problem, models.problem.process
    start = models.upstreams[1]
    model, laws, predicted, rows = start.model, start.laws.laws, start.laws.laws, []
    still = np.broadcast_to(np.eye(problem.n_answers), process.kernels.shape)
    for k in range(1, DISTILLATIONS + 1):
        predicted = composed(predicted, process.kernels)
        draw = draw_from(process.prompts, composed(laws, models.kernels.laws), still)
        how = _how(models.profile, models.profile.further_steps)
        model = fit(model, problem, draw, how, models.seed, sees_original=False, name=f"distilled {k}")
        laws = upstream_laws(model, problem).laws
        distance = models.average(total_variation(laws, predicted))
        moved = models.average(total_variation(laws, start.laws.laws))
        gained = models.average((laws - predicted) @ utilities())
        rows += [
            measurement("A6", "llm_distilled_law", {"k": k}, distance, 0.0, 1, f"moved by {moved:.3f} in all"),
            measurement("A6", "llm_distilled_utility", {"k": k}, gained, 0.0, 1, "mean utility minus that of πKᵏ"),
        ]
    return rows


def measured(context: Context, seed: int) -> list[Measurement]:
    """Everything of one seed."""
    models = prepare(context, seed)
    profile, upstream = models.profile, models.upstreams[1]
    schedule = _how(profile, profile.pairs).schedule
    pairs = by_pairs(upstream.model, models.kernels.laws, models.problem, schedule, seed)
    own = (part(models) for part in (training, stacks, several_rounds, copying, distillation))
    return [*(row for rows in own for row in rows), *pairs]


RUNS = (
    Run(
        "correction",
        measured,
        ("A1", "A2", "A3", "A4", "A5", "A6"),
        catalogue=None,
        also=("A1.loss", "A1.floor", "A1.llm_off", "A3.sampled_gain", "A3.predicted_gain", "A6.llm_pairs_composed"),
    ),
)
