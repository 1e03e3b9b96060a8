"""Compliance–refusal against preference data on a trained language model: V10–V12.

Openings about two marked animals stand in for prompts that the model should decline, all others are safe; every prompt
has three answers and two refusals. Both kinds of data prefer a good answer on safe prompts and a refusal on marked
ones, and differ in what they reject on safe prompts: a refusal (CR) or a weaker answer. No harmful text exists here.

The representation of a prompt is the last layer's state at its last token. Shapes: P prompts, A = 5 responses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm_validation.catalogue.reference import Reference
from llm_validation.catalogue.trie import log_policy, node_states
from llm_validation.claims.settings import SAFETY_FLOOR, SAFETY_LOSSES, SAFETY_OVERLAP, SAFETY_PROMPTS
from llm_validation.losses import unpaired
from llm_validation.model.model import full_precision
from llm_validation.runs.run import SAFETY, Run
from llm_validation.runs.unpaired import HELD_OUT, Classes, expectation, read_off, train_fitted
from simulate.montecarlo import generator
from simulate.rows.measurement import Measurement, measurement
from theory.divergences.losses import find_loss
from theory.divergences.safety_data import Kind, SafetyData, example_safety
from theory.divergences.separation import class_separation, rank_correlation
from theory.validate import Array

#: The two kinds of data.
KINDS: tuple[Kind, ...] = ("cr", "preference")
#: Principal axes of the separation metric, and its shrinkage.
AXES, SHRINKAGE = 2, 0.1
#: Steps of V10's and V11's runs: at the end divergences move no more than a twentieth of what is resolved; KTO's, whose
#: loss is nearly flat far out, take more. And the size of V12's single step.
STEPS, SLOW, STEP_SIZE = 75, {"kto": 100}, 1e-3


def safety_data() -> SafetyData:
    """The tables of `theory.divergences.safety_data.example_safety`, its prompts repeated and every law floored."""
    example = example_safety(SAFETY_OVERLAP)
    rows = np.concatenate([np.resize(np.flatnonzero(example.safe == kind), SAFETY_PROMPTS) for kind in (True, False)])
    P = rows.size

    def floored(table: Array) -> Array:
        return (1.0 - SAFETY_FLOOR) * table[rows] + SAFETY_FLOOR / table.shape[1]

    return SafetyData(
        np.full(P, 1.0 / P), example.safe[rows], *(floored(getattr(example, name)) for name in
        ("preferred", "rejected", "refusal", "weak"))
    )  # fmt: skip


def representations(model: object, reference: Reference) -> Array:
    """Last-layer states (P, H) at every prompt's last token."""
    trie = reference.trie()
    with torch.no_grad():
        return node_states(model, trie)[trie.leaving[:, 0]].double().cpu().numpy()


def log_separation(points: Array, safe: NDArray[np.bool_]) -> tuple[float, float]:
    """(log Bhattacharyya distance, silhouette) of the two classes on two principal axes, covariances shrunk."""
    separated = class_separation(points, np.asarray(safe), components=AXES, shrinkage=SHRINKAGE)
    return math.log(separated.bhattacharyya), separated.silhouette


def separation(reference: Reference) -> list[Measurement]:
    """Every loss on both kinds of data: V10's divergences and V11's separation of representations."""
    data = safety_data()
    before = log_separation(representations(reference.model(), reference), data.safe)[0]
    rows, distances, estimates = [measurement("V11", "reference", {}, before)], [], []
    for name in SAFETY_LOSSES:
        after, read, errors = {}, {}, {}
        steps = min(SLOW.get(name, STEPS), reference.schedule.steps)
        short = replace(reference, schedule=replace(reference.schedule, steps=steps))
        for kind in KINDS:
            model = short.model()
            read[kind], errors[kind] = divergence_of(short, data, name, kind, model=model)
            after[kind], silhouette = log_separation(representations(model, short), data.safe)
            setting = {"name": name, "data": kind}
            rows += [
                measurement("V11", "grows", setting, after[kind] - before),
                measurement("V11", "trained_silhouette", setting, silhouette),
            ]
            distances.append(after[kind])
            estimates.append(read[kind])
        rows.append(measurement("V11", "cr_separates_more", {"name": name}, after["cr"] - after["preference"]))
        rows += divergences_apart(data, name, read, errors, ("trained", "trained_sign"))
    return [*rows, rank_row("rank_correlation", distances, estimates)]


def divergences_apart(
    data: SafetyData, name: str, read: Mapping[Kind, float], errors: Mapping[Kind, float], checks: tuple[str, str]
) -> list[Measurement]:
    """V10 of one loss: how much more of a divergence it reads off data of both kinds, less the true difference; and the
    difference itself. Nothing for DPO, whose pairs reveal a divergence of products: V10 is stated for D_f."""
    if name == "dpo":
        return []
    cr, preference = (find_loss(name).divergence(*data.joint(kind)) for kind in KINDS)
    gap, error = read["cr"] - read["preference"], math.hypot(*errors.values())
    values = (gap - (cr - preference), gap)
    return [
        measurement("V10", check, {"name": name}, value, error, HELD_OUT)
        for check, value in zip(checks, values, strict=True)
    ]


def rank_row(check: str, distances: Sequence[float], estimates: Sequence[float]) -> Measurement:
    """V11's rank correlation of distances and estimated divergences, its interval as the note."""
    correlation = rank_correlation(distances, estimates)
    note = f"95 % interval {correlation.low:.2f} to {correlation.high:.2f}"
    return measurement("V11", check, {}, correlation.value, n=len(distances), note=note)


def divergence_of(
    reference: Reference, data: SafetyData, name: str, kind: Kind, of: str = "", **options: Any
) -> tuple[float, float]:
    """Train on a kind of data; the divergence that the loss shows on held-out draws, and its standard error."""
    p, q = data.preferred, data.dispreferred(kind)
    _, rewards = train_fitted(reference, Classes(p, q, p, q), name, 1.0, f"{of}{name} {kind}", **options)
    values, stderr = read_off(name, rewards, p, q, generator(reference.seed, f"{of}safety", name, kind))
    return float(np.mean(values)), stderr


@full_precision()
def normaliser(reference: Reference) -> list[Measurement]:
    """V12: where A < 0 < U, descending the official normalised second term raises it, and with it rejected responses.

    The start is the reference trained on swapped labels for a few steps, so that chosen responses have negative and
    rejected ones positive rewards. Both steps have the same size; only the normaliser's factor min(A, U)/U differs.
    """
    data = safety_data()
    classes = Classes(*(data.preferred, data.rejected) * 2)
    swapped = Classes(*(data.rejected, data.preferred) * 2)
    model, trie = reference.model(), reference.trie()
    short = replace(reference.schedule, steps=30)
    reference.train(expectation(reference, swapped, "bco", 1.0), "swapped labels", schedule=short, model=model)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        aligned, before = (float(term) for term in _terms(reference, classes, log_policy(model, trie)))
    changes = {}
    for normalize in (False, True):
        model.load_state_dict(start)
        logs = log_policy(model, trie)
        # what the loss adds to −A is its second term, normalised or not
        second = _kldo(reference, classes, logs, normalize) + _terms(reference, classes, logs)[0]
        gradients = torch.autograd.grad(second, list(model.parameters()))
        if not normalize:
            size = STEP_SIZE / torch.stack([(g**2).sum() for g in gradients]).sum().sqrt()
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter -= size * gradient
            changes[normalize] = float(_terms(reference, classes, log_policy(model, trie))[1]) - before
    factor = min(aligned, before) / before
    return [
        measurement("V12", "trained_factor", {}, changes[True] / changes[False] / factor - 1.0),
        measurement(
            "V12", "trained_up", {}, changes[True] / abs(changes[False]), note=f"A = {aligned:.3f}, U = {before:.3f}"
        ),
    ]


def _terms(reference: Reference, classes: Classes, logs: Tensor) -> tuple[Tensor, Tensor]:
    """A = E₊[r] and U = log E₋[e^r] over all prompts, kl_beta = 1."""
    ratio = (logs - reference.logs)[:, :-1].reshape(-1)
    p, q = (reference.tensor(law / len(law)).ravel() for law in (classes.chosen, classes.rejected))
    return (p * ratio).sum(), torch.logsumexp(q.log() + ratio, 0)


def _kldo(reference: Reference, classes: Classes, logs: Tensor, normalize: bool) -> Tensor:
    """KLDO with one log over all prompts, as the official code has it."""
    on, ref = logs[:, :-1].reshape(-1), reference.logs[:, :-1].ravel()
    p, q = (reference.tensor(law / len(law)).ravel() for law in (classes.chosen, classes.rejected))
    return unpaired.kldo(on, on, ref, ref, kl_beta=1.0, chosen_weight=p, rejected_weight=q, normalize=normalize)


RUNS = (
    Run(
        "separation",
        separation,
        ("V10", "V11"),
        SAFETY,
        also=("V11.reference", "V11.trained_silhouette", "V11.rank_correlation"),
    ),
    Run("kldo_normaliser", normaliser, ("V12",), SAFETY),
)
