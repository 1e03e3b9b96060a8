"""PRO on a trained language model: P4–P6, P8–P13, P16. Does the regulariser pin the likelihoods that DPO lets go?

Four prompts with a spread-out reference; responses 0 … 3 can be labelled, the others never are. H is everything that
is not labelled, the mass off the catalogue included: its log-probability comes from the prefix tree, never from
log(1 − Σπ). Each run trains every prompt with data and constants of its own and compares the exact policy on Y_H with
the optimum that theory computes from the measured reference and the same labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llm_validation.catalogue.reference import Reference
from llm_validation.catalogue.train import Trained
from llm_validation.claims.settings import (
    BINARY_RUNS,
    DPO_FORM_BETAS,
    IMBALANCE_RUNS,
    PAIR_RUNS,
    SCALAR_RUNS,
    TABLE_ALPHA,
    TABLE_BETA,
    TABLE_KINDS,
    TABLE_SHARE,
)
from llm_validation.losses import pairs, parts
from llm_validation.losses.parts import Number
from llm_validation.runs.comparisons import pair_objective
from llm_validation.runs.displacement import rival_rows
from llm_validation.runs.run import Run, law_rows
from simulate.rows.measurement import Measurement, measurement
from theory.claim import Setting
from theory.proximal import optimum as proximal
from theory.proximal.examples import LABELS
from theory.proximal.existence import imbalance_scores
from theory.proximal.settings import SCALAR_SCORES
from theory.validate import Array

#: Their places on the shared catalogue, and how many they are.
PROMPTS, N_PROMPTS = slice(6, 10), 4
#: The part of the schedule's steps after which PRO alone, on labelled responses and H, is within a tenth of MEAN and of
#: GAP of where it ends; on all responses it takes all of them, and beside DPO it takes as many.
ENOUGH = 0.6
#: A second, smaller rate for DPO: at either the loss falls from log 2 below .1, and likelihoods end nats apart.
OTHER_RATE = 0.2


@dataclass(frozen=True, eq=False)
class Table:
    """Labels of one prompt over its N labelled responses and H: signal w and weights μ, both (N + 1,), H last."""

    labelled: tuple[int, ...]
    signal: Array
    weights: Array

    def optimum(self, log_reference: Array, alpha: float, kl_beta: float) -> proximal.Optimum:
        """PRO's optimum from the measured law (A + 1,)."""
        held = list(self.labelled)
        rest = np.delete(log_reference, held)
        r_scores = np.where(self.weights[:-1] > 0, self.signal[:-1], 0.0)
        return proximal.hyper_optimum(
            log_reference[held],
            r_scores * len(held),  # any empirical law will do: only the product μ̂ŝ enters
            np.full(len(held), 1.0 / len(held)),
            self.weights[:-1],
            alpha,
            kl_beta,
            log_hyper_reference=float(np.logaddexp.reduce(rest)),
        )


#: One pair, its winner first, and H: μ̂ŝ, and μ uniform on the three.
PAIR = Table((0, 1), np.array([0.125, -0.125, 0.0]), np.full(3, 1 / 3))


def merge(logs: Tensor, labelled: Sequence[int]) -> Tensor:
    """Log-probabilities (…, A + 1) as (…, N + 1): the labelled responses, and H summed up."""
    others = [y for y in range(logs.shape[-1]) if y not in labelled]
    return torch.cat([logs[..., list(labelled)], torch.logsumexp(logs[..., others], -1, keepdim=True)], -1)


def merged(logs: Array, labelled: Sequence[int]) -> Array:
    """The same of arrays."""
    return merge(torch.as_tensor(logs), labelled).numpy()


def _gaps(reference: Reference, trained: Trained, prompt: int, labelled: Sequence[int], kl_beta: float) -> Array:
    """r(y) − r(H) (N,) of a trained prompt."""
    ratio = merged(trained.log_policy[prompt], labelled) - merged(reference.log_law[prompt], labelled)
    return kl_beta * (ratio[:-1] - ratio[-1])


def beside_hyper(
    loss: Callable[..., Tensor], reference: Reference, n: int, alpha: Number, kl_beta: Number
) -> Callable[[int, Tensor], Tensor]:
    """A loss of log π and log π_ref (P, n) of the first n responses of every prompt, H all else."""
    ref = merge(reference.logs, range(n))

    def objective(_: int, logs: Tensor) -> Tensor:
        m = merge(logs, range(n))
        hyper = {"policy_hyper": m[:, n], "reference_hyper": ref[:, n]}
        return loss(m[:, :n], ref[:, :n], kl_beta=kl_beta, alpha=alpha, **hyper)

    return objective


def pro_on_pairs(reference: Reference, alpha: Number, kl_beta: Number) -> Callable[[int, Tensor], Tensor]:
    """PRO-P on the first two responses of every prompt."""
    loss = lambda m, ref, **how: pairs.pro_pairwise(m[:, 0], m[:, 1], ref[:, 0], ref[:, 1], **how)
    return beside_hyper(loss, reference, 2, alpha, kl_beta)


def pro_on_responses(
    reference: Reference, scores: Tensor, alpha: Number, kl_beta: Number
) -> Callable[[int, Tensor], Tensor]:
    """PRO-B on the first response of every prompt, by its score (P,)."""
    loss = lambda m, ref, **how: pairs.pro_binary(m[:, 0], ref[:, 0], scores, **how)
    return beside_hyper(loss, reference, 1, alpha, kl_beta)


def pairwise(reference: Reference) -> list[Measurement]:
    """PRO-P on one pair per prompt: P9's gaps, P12's levels; then DPO on the same pairs: P5, P12's contrast, P16."""
    labelled = PAIR.labelled
    alphas, betas = (reference.tensor(column) for column in zip(*PAIR_RUNS, strict=True))
    trained = reference.train(pro_on_pairs(reference, alphas, betas), "pro_pairwise")
    rows, errors = [], []
    for p, (alpha, kl_beta) in enumerate(PAIR_RUNS):
        gaps = _gaps(reference, trained, p, labelled, kl_beta)
        rows += [
            measurement("P9", "trained", {"response": y, "alpha": alpha, "kl_beta": kl_beta}, float(gaps[y]))
            for y in (0, 1)
        ]
        optimum = PAIR.optimum(reference.log_law[p], alpha, kl_beta)
        levels = merged(trained.log_policy[p], labelled) - merged(reference.log_law[p], labelled)
        target = np.append(optimum.log_ratio, optimum.hyper_ratio)
        errors.append(np.abs(levels - target) / np.maximum(1.0, np.abs(target)))
    worst = np.max(errors, axis=0)
    names = ("chosen", "rejected", "H")
    rows += [
        measurement("P12", "levels", {"response": name}, float(value)) for name, value in zip(names, worst, strict=True)
    ]
    return rows + _dpo_on_the_same_pairs(reference, trained, betas)


def _dpo_on_the_same_pairs(reference: Reference, pro: Trained, betas: Tensor) -> list[Measurement]:
    """DPO from the same reference on the same pairs at two learning rates: loss, labelled mass, chosen likelihood."""
    objective = pair_objective(pairs.dpo, reference, 0, 1, kl_beta=betas)
    slow = reference.schedule.slower(OTHER_RATE)
    runs = [reference.train(objective, "dpo_pairs"), reference.train(objective, "dpo_pairs_slow", schedule=slow)]
    mass = [np.exp(run.log_policy[:, :2]).sum(axis=1) for run in runs]
    chosen = runs[0].log_policy[:, 0] - reference.log_law[:, 0]
    rejected = runs[0].log_policy[:, 1] - reference.log_law[:, 1]
    pro_chosen = pro.log_policy[:, 0] - reference.log_law[:, 0]
    rows = [
        measurement("P5", "other_rate", {}, float((np.abs(np.log(mass[0] / mass[1])) > 0.05).mean())),
        measurement("P5", "other_loss", {}, float(abs(runs[0].loss[-1] - runs[1].loss[-1]))),
        measurement("P12", "above_dpo", {}, float((pro_chosen > chosen).mean()), n=N_PROMPTS),
        measurement("P12", "dpo_chosen", {}, float(chosen.mean())),
        measurement("P12", "dpo_rejected", {}, float(rejected.mean())),
        measurement("P12", "pro_chosen", {}, float(pro_chosen.mean())),
        measurement("P12", "dpo_unlabelled_mass", {}, float((1.0 - mass[0]).mean())),
        measurement("P12", "pro_unlabelled_mass", {}, float(1.0 - np.exp(pro.log_policy[:, :2]).sum(axis=1).mean())),
    ]
    for method, run in (("dpo", runs[0]), ("pro", pro)):
        ratio = merged(run.path, (0, 1)) - merged(reference.log_law, (0, 1))
        for s, step in enumerate(run.step):
            for y, name in enumerate(("chosen", "rejected", "H")):
                setting: Setting = {"method": method, "response": name, "step": int(step)}
                rows.append(measurement("P12", "trained_path", setting, float(ratio[s, 1, y])))
    return [*rows, *rival_rows(reference, runs[0], pro, betas.double().cpu().numpy())]


def binary(reference: Reference) -> list[Measurement]:
    """PRO-B on one scored response per prompt: P10's gaps."""
    return _binary(reference, "P10", BINARY_RUNS)


def imbalanced(reference: Reference) -> list[Measurement]:
    """PRO-B on the positive of 1 : `negatives` feedback: P13's log-ratios."""
    runs = [(imbalance_scores(n)[0], a, b) for n, a, b in IMBALANCE_RUNS]
    rows = _binary(reference, "P13", runs)
    return [
        measurement("P13", "trained", {"negatives": n, "alpha": a, "kl_beta": b}, m.value / b)
        for m, (n, a, b) in zip(rows, IMBALANCE_RUNS, strict=True)
    ]


def _binary(reference: Reference, claim: str, runs: Sequence[tuple[float, float, float]]) -> list[Measurement]:
    """PRO-B at (score, alpha, kl_beta) of each prompt."""
    scores, alphas, betas = (reference.tensor(column) for column in zip(*runs, strict=True))
    objective, schedule = pro_on_responses(reference, scores, alphas, betas), reference.schedule.longer(ENOUGH)
    trained = reference.train(objective, f"pro_binary {claim}", schedule=schedule)
    return [
        measurement(
            claim, "trained", {"score": score, "alpha": alpha, "kl_beta": kl_beta},
            float(_gaps(reference, trained, p, (0,), kl_beta)[0]),
        )
        for p, (score, alpha, kl_beta) in enumerate(runs)
    ]  # fmt: skip


def scalar(reference: Reference) -> list[Measurement]:
    """PRO-S on the first n of four scored responses: P11's gaps."""

    def objective(_: int, logs: Tensor) -> Tensor:
        total = torch.zeros((), device=reference.device)
        for p, (n, alpha, kl_beta) in enumerate(SCALAR_RUNS):
            labelled = tuple(range(n))
            m, ref = merge(logs[p : p + 1], labelled), merge(reference.logs[p : p + 1], labelled)
            total = total + pairs.pro_scalar(
                m[:, :-1], ref[:, :-1], reference.tensor([SCALAR_SCORES[:n]]), kl_beta=kl_beta, alpha=alpha,
                policy_hyper=m[:, -1], reference_hyper=ref[:, -1],
            )  # fmt: skip
        return total / len(SCALAR_RUNS)

    trained = reference.train(objective, "pro_scalar", schedule=reference.schedule.longer(ENOUGH))
    rows = []
    for p, (n, alpha, kl_beta) in enumerate(SCALAR_RUNS):
        gaps = _gaps(reference, trained, p, tuple(range(n)), kl_beta)
        rows += [
            measurement("P11", "trained", {"n": n, "response": y, "alpha": alpha}, float(gaps[y])) for y in range(n)
        ]
    return rows


def tables(reference: Reference) -> list[Measurement]:
    """Whole tables of labels, trained on Y_H and on all responses: P6 (the same policy), P4 (order, one constant)."""
    rows = []
    for space, build, part in (("merged", _merged_objective, ENOUGH), ("full", _full_objective, 1.0)):
        trained = reference.train(build(reference), f"pro_{space}", schedule=reference.schedule.longer(part))
        rows += _against_optimum(reference, trained, "P6", {"space": space}, [TABLE_BETA] * N_PROMPTS, TABLE_ALPHA)
        if space == "full":
            rows += _order_and_constant(reference, trained)
    return rows


def _table(kind: str) -> Table:
    """The labels of `theory.proximal.examples` on this catalogue's responses; H holds all others."""
    scores, empirical = LABELS[kind].scores()
    held = tuple(int(y) for y in LABELS[kind].labelled)
    signal = (scores * empirical)[list(held)]
    weights = TABLE_SHARE * empirical[list(held)]
    return Table(held, np.append(signal, 0.0), np.append(weights, 1.0 - weights.sum()))


def _merged_objective(reference: Reference) -> Callable[[int, Tensor], Tensor]:
    tables_ = [_table(kind) for kind in TABLE_KINDS]
    labelled = tables_[0].labelled  # the same four responses under every kind of feedback
    signal, weights = (reference.tensor([getattr(t, name) for t in tables_]) for name in ("signal", "weights"))
    ref = merge(reference.logs, labelled)
    return lambda _, logs: pairs.pro(merge(logs, labelled), ref, signal, weights, kl_beta=TABLE_BETA, alpha=TABLE_ALPHA)


def _full_objective(reference: Reference) -> Callable[[int, Tensor], Tensor]:
    """eDPO over all responses and off, each in the regulariser for itself, μ on the unlabelled ∝ π_ref."""
    signal, weights = np.zeros_like(reference.log_law), np.zeros_like(reference.log_law)
    for p, kind in enumerate(TABLE_KINDS):
        table, law = _table(kind), np.exp(reference.log_law[p])
        held = list(table.labelled)
        signal[p, held], weights[p, held] = table.signal[:-1], table.weights[:-1]
        others = np.setdiff1d(np.arange(law.size), held)
        weights[p, others] = table.weights[-1] * law[others] / law[others].sum()
    w, mu, ref = reference.tensor(signal), reference.tensor(weights), reference.logs
    return lambda _, logs: pairs.pro(logs, ref, w, mu, kl_beta=TABLE_BETA, alpha=TABLE_ALPHA)


def _against_optimum(
    reference: Reference, trained: Trained, claim: str, setting: dict[str, str], betas: Sequence[float], alpha: float
) -> list[Measurement]:
    """Distance and slope to PRO's optimum on Y_H."""
    reached, targets, start = [], [], []
    for p in range(N_PROMPTS):
        table = _table(TABLE_KINDS[p] if claim == "P6" else "pairs")
        optimum = table.optimum(reference.log_law[p], alpha, betas[p])
        targets.append(np.exp(np.append(optimum.log_policy, optimum.hyper_policy)))
        reached.append(np.exp(merged(trained.log_policy[p], table.labelled)))
        start.append(np.exp(merged(reference.log_law[p], table.labelled)))
    return law_rows(claim, setting, np.stack(start), np.stack(reached), np.stack(targets))


def _order_and_constant(reference: Reference, trained: Trained) -> list[Measurement]:
    """P4: log-ratios of unlabelled responses are one constant log C; scored ones lie on their side of it."""
    spread, order = [], []
    ratio = trained.log_policy - reference.log_law
    for p, kind in enumerate(TABLE_KINDS):
        table = _table(kind)
        held = list(table.labelled)
        others = np.setdiff1d(np.arange(ratio.shape[1] - 1), held)
        constant = ratio[p, others].mean()
        spread.append(float(np.ptp(ratio[p, others])))
        scored = table.signal[:-1] != 0
        order.append(float((np.sign(table.signal[:-1]) * (ratio[p, held] - constant))[scored].min()))
    return [
        measurement("P4", "trained_constant", {}, max(spread), n=N_PROMPTS),
        measurement("P4", "trained_order", {}, min(order), n=N_PROMPTS),
    ]


def dpo_form(reference: Reference) -> list[Measurement]:
    """P8: DPO on the labelled pairs plus the proximal term that ties them to H, η = share, α = 1/η²."""
    table = _table("pairs")
    labelled, eta = table.labelled, TABLE_SHARE
    empirical = reference.tensor(table.weights[:-1] / eta)
    rates = 0.5 + _pair_margins()
    weight = reference.tensor(rates)[None] * empirical[:, None] * empirical[None, :]
    betas, ref = reference.tensor(DPO_FORM_BETAS)[:, None], merge(reference.logs, labelled)

    def objective(_: int, logs: Tensor) -> Tensor:
        ratio = betas * (merge(logs, labelled) - ref)
        held, rest = ratio[:, :-1], ratio[:, -1:]
        # ½ L_DPO over μ̂ × μ̂: both orders of a pair are in the sum, so the two halves are one
        pair_losses = torch.nn.functional.softplus(held[:, None, :] - held[:, :, None])
        tied = (1.0 - eta) / eta * (empirical * parts.kl_bernoulli_half(held - rest)).sum(-1)
        return ((weight * pair_losses).sum((-2, -1)) + tied).mean()

    trained = reference.train(objective, "pro_dpo_form", schedule=reference.schedule.longer(ENOUGH))
    return _against_optimum(reference, trained, "P8", {}, DPO_FORM_BETAS, 1.0 / eta**2)


def _pair_margins() -> Array:
    """p̂(y≻y′) − ½ (4, 4) of the labelled pairs; 0 where never compared."""
    pairs = LABELS["pairs"].pairs
    assert pairs is not None
    wins = np.zeros((4, 4))
    np.add.at(wins, (pairs[:, 0], pairs[:, 1]), 1.0)
    met = wins + wins.T
    return np.divide(wins, met, out=np.full((4, 4), 0.5), where=met > 0) - 0.5


RUNS = (
    Run(
        "pro_pairwise",
        pairwise,
        ("P5", "P9", "P12", "P16"),
        prompts=PROMPTS,
        also=("P5.other_loss", *(f"P12.{name}" for name in (
            "dpo_chosen", "dpo_rejected", "pro_chosen", "dpo_unlabelled_mass", "pro_unlabelled_mass", "trained_path",
        )), "P16.trained_rank", "P16.trained_sign"),
    ),
    Run("pro_binary", binary, ("P10",), prompts=PROMPTS),
    Run("pro_imbalanced", imbalanced, ("P13",), prompts=PROMPTS),
    Run("pro_scalar", scalar, ("P11",), prompts=PROMPTS),
    Run("pro_tables", tables, ("P4", "P6"), prompts=PROMPTS),
    Run("pro_dpo_form", dpo_form, ("P8",), prompts=PROMPTS),
)  # fmt: skip
