"""Aligner on a model that others trained: A1–A5, on an edit process over its own answers.

Answers are the model's own to each prompt, from the worst to the best in an order that is drawn. Answer o is replaced
with probability e(o), the better the rarer, by a draw from τ, which prefers better ones: K(c|o) = (1 − e(o))·1{c = o}
+ e(o)·τ(c). So H(C|X,O), H(C|X) and I(C;O|X) are known, for any law of the answers.

The corrector is the model's top blocks, and reads prompt, answer and `MARK`; SFT is trained on the same corrections
after the prompt alone. Both see the counts of `DRAWS` triples; their losses are taken under the process itself, and
the mass that they leave off the listed answers is in them. The laws of the models that are corrected are measured by
teacher forcing, conditional on the catalogue, and none of them is the law of the triples: that is the even mixture of
the model's own law and the uniform one.

Shapes: P prompts, A answers; laws (P, A), kernels (P, A, A).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_validation.aligner.aligner import exact_laws
from llm_validation.catalogue.reference import Reference, conditional, total_variation
from llm_validation.catalogue.texts import Encoded
from llm_validation.catalogue.train import Objective, Task
from llm_validation.claims.real_settings import CORRECTED, CORRECTIONS, PAIR
from llm_validation.losses import pairs
from llm_validation.runs.comparisons import pair_objective
from llm_validation.runs.correction import of_its_bound
from llm_validation.runs.kernels import composed, gains, transfer_bounds, unchanged_shares
from simulate.montecarlo import generator
from simulate.rows.measurement import Measurement, measurement
from theory.correction import composition, repetition
from theory.validate import Array

#: Between an answer and its correction.
MARK = "\nCorrected:"
#: The first prompts: each is a context for each of its answers, and what a step costs goes with the contexts.
PROMPTS = 4
#: Triples; how often the worst and the best answer are replaced; how many times the other runs' steps.
DRAWS, EDITED, LONGER = 10**6, (0.7, 0.1), 2
#: Sampling temperatures of models that are corrected.
TEMPERATURES = {"own": 1.0, "cold": 0.6, "hot": 1.5}


@dataclass(frozen=True, eq=False)
class Edits:
    """upstream (P, A) law of the triples' answers, kernels (P, A, A), utilities (P, A) in [0, 1] of the answers."""

    upstream: Array
    kernels: Array
    utilities: Array

    @property
    def joint(self) -> Array:
        """(P, A, A) of prompt, answer and correction, every prompt alike."""
        return self.upstream[:, :, None] * self.kernels / len(self.kernels)


def edits(reference: Reference) -> Edits:
    """The edit process over a reference's responses."""
    rng, own = generator(reference.seed, "real edits"), reference.on_catalogue
    P, A = own.shape
    value = np.array([rng.permutation(A) for _ in range(P)]) / (A - 1.0)
    rate = EDITED[0] + (EDITED[1] - EDITED[0]) * value
    preferred = (1.0 + (A - 1.0) * value) / (1.0 + (A - 1.0) * value).sum(axis=1, keepdims=True)
    kernels = (1.0 - rate)[:, :, None] * np.eye(A) + rate[:, :, None] * preferred[:, None, :]
    return Edits((own + 1.0 / A) / 2.0, kernels, value)


def corrector_contexts(encoded: Encoded, tokenizer: Any) -> Encoded:
    """What a corrector reads of each answer of each prompt, P·A contexts, and what it may write."""
    mark = tuple(tokenizer.encode(MARK, add_special_tokens=False))
    both = list(zip(encoded.prompts, encoded.responses, strict=True))
    return Encoded(
        tuple((*prompt, *answer, *mark) for prompt, own in both for answer in own),
        tuple(own for _, own in both for _ in own),
    )


def _cross_entropy(reference: Reference, counts: Array) -> Objective:
    """−Σ counts·log μ of counts (contexts, A)."""
    weight = reference.tensor(counts)
    return lambda _, logs: -(weight * logs[:, :-1]).sum()


def _learnt(reference: Reference, encoded: Encoded, counts: Array, name: str) -> Array:
    """Log-law (contexts, A + 1) that the corrections teach."""
    task = Task(reference.model(), encoded.trie().to(reference.device), _cross_entropy(reference, counts),
                reference.schedule.longer(LONGER), name=name)  # fmt: skip
    return reference.trainer(task).log_policy


def correction(reference: Reference, tokenizer: Any) -> list[Measurement]:
    """Everything of one seed."""
    reference = reference.part(slice(PROMPTS))
    process, (P, A) = edits(reference), reference.on_catalogue.shape
    joint = process.joint
    counts = generator(reference.seed, "real triples").multinomial(DRAWS, joint.ravel()).reshape(joint.shape) / DRAWS
    sft = _learnt(reference, reference.encoded, counts.sum(axis=1), "real sft")
    models = {**_other_temperatures(reference), "aligned": _aligned(reference), "corrected": conditional(np.exp(sft))}
    contexts = corrector_contexts(reference.encoded, tokenizer)
    log_kernels = _learnt(reference, contexts, counts.reshape(P * A, A), "real aligner").reshape(P, A, A + 1)
    kernels = np.exp(log_kernels[..., :-1])
    kernels /= kernels.sum(axis=-1, keepdims=True)
    losses = -float((joint * log_kernels[..., :-1]).sum()), -float((joint.sum(axis=1) * sft[:, :-1]).sum())
    return [
        *_floors(process, kernels, losses),
        measurement("A1", "real_off", {}, float(np.exp(log_kernels[..., -1]).max()), note="the worst context"),
        *(row for name in CORRECTED for row in _stacked(process, kernels, models[name], name)),
        *_rounds(process, kernels, models["own"]),
        *_unchanged(process, kernels),
    ]


def _other_temperatures(reference: Reference) -> dict[str, Array]:
    """Laws (P, A) of the model's answers at sampling temperatures."""
    own = reference.encoded
    return {
        name: exact_laws(reference.model(), own.prompts, own.responses, temperature).laws
        for name, temperature in TEMPERATURES.items()
    }


def _aligned(reference: Reference) -> Array:
    """Law (P, A) after DPO on one pair of each prompt."""
    objective = pair_objective(pairs.dpo, reference, 0, 1, kl_beta=PAIR[1])
    return conditional(reference.train(objective, "real aligned upstream").policy)


def _floors(process: Edits, kernels: Array, losses: tuple[float, float]) -> list[Measurement]:
    """A1: losses against floors, and their difference against I(C;O|X). A2: the sides of the bound."""
    P = len(kernels)
    floors = composition.floors(np.full(P, 1.0 / P), process.upstream, process.kernels)
    (aligner, sft), note = losses, "{:.4f} over {:.4f} nats".format
    sides = [
        composition.bound_sides(pi, K, M) for pi, K, M in zip(process.upstream, process.kernels, kernels, strict=True)
    ]
    naive = float(np.mean([s.naive_gap for s in sides]))
    return [
        measurement("A1", "real_aligner", {}, aligner / floors.aligner, note=note(aligner, floors.aligner)),
        measurement("A1", "real_sft", {}, sft / floors.sft, note=note(sft, floors.sft)),
        measurement("A1", "real_difference", {}, sft - aligner - floors.gain, note=f"I = {floors.gain:.4f} nats"),
        measurement("A2", "real_excess", {}, max(s.composed - s.correction - s.prior for s in sides)),
        measurement("A2", "real_naive_gap", {}, naive + floors.gain, note=f"measured {naive:.4f} nats"),
    ]  # fmt: skip


def _stacked(process: Edits, kernels: Array, upstream: Array, name: str) -> list[Measurement]:
    """A3 on one model: law and gain of its corrected answers, and the bound of the gain's error."""
    own, true, u = upstream, process.kernels, process.utilities
    distance = total_variation(composed(own, true), composed(own, kernels))
    measured, predicted = (float(np.mean(gains(own, some, u))) for some in (kernels, true))
    bound = float(np.mean(transfer_bounds(own, process.upstream, true, kernels, u)))
    at, error, P = {"upstream": name}, measured - predicted, len(kernels)
    note = f"measured {measured:.4f}, predicted {predicted:.4f}"
    return [
        measurement("A3", "real_law", at, float(distance.mean()), n=P, note=f"worst prompt {distance.max():.4f}"),
        measurement("A3", "real_gain", at, error, n=P, note=note),
        measurement("A3", "real_transfer", at, of_its_bound(error, bound), n=P),
    ]


def _rounds(process: Edits, kernels: Array, upstream: Array) -> list[Measurement]:
    """A4: mean utility after rounds of correction."""
    rows, most = [], max(CORRECTIONS)
    curves = np.mean([
        [repetition.rounds(pi, some, u, most) for some in (M, K)]
        for pi, K, M, u in zip(upstream, process.kernels, kernels, process.utilities, strict=True)
    ], axis=0)  # fmt: skip
    for k in CORRECTIONS:
        measured, predicted = curves[:, k]
        note = f"measured {measured:.4f}, predicted {predicted:.4f}"
        rows.append(measurement("A4", "real_utility", {"k": k}, measured - predicted, note=note))
    return rows


def _unchanged(process: Edits, kernels: Array) -> list[Measurement]:
    """A5: the share of answers that come back as they were."""
    measured, predicted = (
        float(unchanged_shares(process.upstream, some).mean()) for some in (kernels, process.kernels)
    )
    note = f"measured {measured:.4f}, predicted {predicted:.4f}"
    return [measurement("A5", "real_unchanged", {}, measured - predicted, note=note)]
