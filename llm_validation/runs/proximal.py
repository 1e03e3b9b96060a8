"""PRO on a trained language model: P4–P6, P8–P13. Does restoring the regulariser pin the likelihoods that DPO lets go?

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

from llm_validation import losses
from llm_validation.catalogue.reference import Lab, total_variation
from llm_validation.catalogue.train import Trained
from simulate.rows.measurement import Measurement, measurement
from theory.claim import Setting
from theory.language_model_settings import (
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
from theory.proximal import optimum as proximal
from theory.proximal.examples import LABELS
from theory.proximal.existence import imbalance_scores
from theory.proximal.predictions import SCALAR_SCORES
from theory.validate import Array

N_PROMPTS = 4
#: A second, smaller rate for DPO: the loss that it reaches is the same, what it does to the likelihoods is not.
OTHER_RATE = 0.2


def references(n_responses: int, rng: np.random.Generator) -> Array:
    """Designed reference laws (4, A): spread out, no response below a few per cent."""
    laws = rng.dirichlet(np.full(n_responses, 6.0), N_PROMPTS)
    return 0.8 * laws + 0.2 / n_responses


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


def merge(logs: Tensor, labelled: Sequence[int]) -> Tensor:
    """Log-probabilities (…, A + 1) as (…, N + 1): the labelled responses, and H summed up."""
    others = [y for y in range(logs.shape[-1]) if y not in labelled]
    return torch.cat([logs[..., list(labelled)], torch.logsumexp(logs[..., others], -1, keepdim=True)], -1)


def _merged(logs: Array, labelled: Sequence[int]) -> Array:
    return merge(torch.as_tensor(logs), labelled).numpy()


def _gaps(lab: Lab, trained: Trained, prompt: int, labelled: Sequence[int], kl_beta: float) -> Array:
    """r(y) − r(H) (N,) of a trained prompt."""
    ratio = _merged(trained.log_policy[prompt], labelled) - _merged(lab.log_reference[prompt], labelled)
    return kl_beta * (ratio[:-1] - ratio[-1])


def pairwise(lab: Lab) -> list[Measurement]:
    """PRO-P on one pair per prompt: P9's gaps, P12's levels; then DPO on the same pairs, P5 and P12's contrast."""
    labelled, reference = (0, 1), merge(lab.reference, (0, 1))
    alphas, betas = lab.tensor([a for a, _ in PAIR_RUNS]), lab.tensor([b for _, b in PAIR_RUNS])

    def objective(_: int, logs: Tensor) -> Tensor:
        m = merge(logs, labelled)
        return losses.pro_pairwise(
            m[:, 0], m[:, 1], reference[:, 0], reference[:, 1], kl_beta=betas, alpha=alphas,
            policy_hyper=m[:, 2], reference_hyper=reference[:, 2],
        )  # fmt: skip

    trained = lab.train(objective, "pro_pairwise")
    found, errors = [], []
    for p, (alpha, kl_beta) in enumerate(PAIR_RUNS):
        gaps = _gaps(lab, trained, p, labelled, kl_beta)
        found += [
            measurement("P9", "trained", {"response": y, "alpha": alpha, "kl_beta": kl_beta}, float(gaps[y]))
            for y in (0, 1)
        ]
        table = Table(labelled, np.array([0.125, -0.125, 0.0]), np.full(3, 1 / 3))
        optimum = table.optimum(lab.log_reference[p], alpha, kl_beta)
        levels = _merged(trained.log_policy[p], labelled) - _merged(lab.log_reference[p], labelled)
        wanted = np.append(optimum.log_ratio, optimum.hyper_ratio)
        errors.append(np.abs(levels - wanted) / np.maximum(1.0, np.abs(wanted)))
    worst = np.max(errors, axis=0)
    names = ("chosen", "rejected", "H")
    found += [
        measurement("P12", "levels", {"response": name}, float(value)) for name, value in zip(names, worst, strict=True)
    ]
    return found + _dpo_on_the_same_pairs(lab, trained, betas)


def _dpo_on_the_same_pairs(lab: Lab, pro: Trained, betas: Tensor) -> list[Measurement]:
    """DPO from the same reference on the same pairs at two learning rates: loss, labelled mass, chosen likelihood."""
    reference = lab.reference

    def objective(_: int, logs: Tensor) -> Tensor:
        return losses.dpo(logs[:, 0], logs[:, 1], reference[:, 0], reference[:, 1], kl_beta=betas)

    slow = lab.schedule.slower(OTHER_RATE)
    runs = [lab.train(objective, "dpo_pairs"), lab.train(objective, "dpo_pairs_slow", schedule=slow)]
    mass = [np.exp(run.log_policy[:, :2]).sum(axis=1) for run in runs]
    chosen = runs[0].log_policy[:, 0] - lab.log_reference[:, 0]
    rejected = runs[0].log_policy[:, 1] - lab.log_reference[:, 1]
    pro_chosen = pro.log_policy[:, 0] - lab.log_reference[:, 0]
    found = [
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
        ratio = _merged(run.path, (0, 1)) - _merged(lab.log_reference, (0, 1))
        for s, step in enumerate(run.step):
            for y, name in enumerate(("chosen", "rejected", "H")):
                setting: Setting = {"method": method, "response": name, "step": int(step)}
                found.append(measurement("P12", "trained_path", setting, float(ratio[s, 1, y])))
    return found


def binary(lab: Lab) -> list[Measurement]:
    """PRO-B on one scored response per prompt: P10's gaps."""
    return _binary(lab, "P10", [(s, a, b) for s, a, b in BINARY_RUNS], ("score", "alpha", "kl_beta"))


def imbalanced(lab: Lab) -> list[Measurement]:
    """PRO-B on the positive of 1 : `negatives` feedback: P13's log-ratios."""
    runs = [(imbalance_scores(n)[0], a, b) for n, a, b in IMBALANCE_RUNS]
    found = _binary(lab, "P13", runs, ("score", "alpha", "kl_beta"))
    return [
        measurement("P13", "trained", {"negatives": n, "alpha": a, "kl_beta": b}, m.value / b)
        for m, (n, a, b) in zip(found, IMBALANCE_RUNS, strict=True)
    ]


def _binary(
    lab: Lab, claim: str, runs: Sequence[tuple[float, float, float]], names: tuple[str, str, str]
) -> list[Measurement]:
    scores, alphas, betas = (lab.tensor(column) for column in zip(*runs, strict=True))
    reference = merge(lab.reference, (0,))

    def objective(_: int, logs: Tensor) -> Tensor:
        m = merge(logs, (0,))
        return losses.pro_binary(
            m[:, 0], reference[:, 0], scores, kl_beta=betas, alpha=alphas,
            policy_hyper=m[:, 1], reference_hyper=reference[:, 1],
        )  # fmt: skip

    trained = lab.train(objective, f"pro_binary {claim}")
    return [
        measurement(
            claim, "trained", dict(zip(names, run, strict=True)), float(_gaps(lab, trained, p, (0,), run[2])[0])
        )
        for p, run in enumerate(runs)
    ]


def scalar(lab: Lab) -> list[Measurement]:
    """PRO-S on the first n of four scored responses: P11's gaps."""

    def objective(_: int, logs: Tensor) -> Tensor:
        total = torch.zeros((), device=lab.device)
        for p, (n, alpha, kl_beta) in enumerate(SCALAR_RUNS):
            labelled = tuple(range(n))
            m, reference = merge(logs[p : p + 1], labelled), merge(lab.reference[p : p + 1], labelled)
            total = total + losses.pro_scalar(
                m[:, :-1], reference[:, :-1], lab.tensor([SCALAR_SCORES[:n]]), kl_beta=kl_beta, alpha=alpha,
                policy_hyper=m[:, -1], reference_hyper=reference[:, -1],
            )  # fmt: skip
        return total / len(SCALAR_RUNS)

    trained = lab.train(objective, "pro_scalar")
    found = []
    for p, (n, alpha, kl_beta) in enumerate(SCALAR_RUNS):
        gaps = _gaps(lab, trained, p, tuple(range(n)), kl_beta)
        found += [
            measurement("P11", "trained", {"n": n, "response": y, "alpha": alpha}, float(gaps[y])) for y in range(n)
        ]
    return found


def tables(lab: Lab) -> list[Measurement]:
    """Whole tables of labels, trained on Y_H and on all responses: P6 (the same policy), P4 (order, one constant)."""
    found = []
    for space, build in (("merged", _merged_objective), ("full", _full_objective)):
        trained = lab.train(build(lab), f"pro_{space}")
        found += _against_optimum(lab, trained, "P6", {"space": space}, [TABLE_BETA] * N_PROMPTS, TABLE_ALPHA)
        if space == "full":
            found += _order_and_constant(lab, trained)
    return found


def _table(kind: str) -> Table:
    """The labels of `theory.proximal.examples` on this catalogue's responses; H holds all others."""
    scores, empirical = LABELS[kind].scores()
    held = tuple(int(y) for y in LABELS[kind].labelled)
    signal = (scores * empirical)[list(held)]
    weights = TABLE_SHARE * empirical[list(held)]
    return Table(held, np.append(signal, 0.0), np.append(weights, 1.0 - weights.sum()))


def _merged_objective(lab: Lab) -> Callable[[int, Tensor], Tensor]:
    tables_ = [_table(kind) for kind in TABLE_KINDS]
    labelled = tables_[0].labelled  # the same four responses under every kind of feedback
    signal, weights = (lab.tensor([getattr(t, name) for t in tables_]) for name in ("signal", "weights"))
    reference = merge(lab.reference, labelled)
    return lambda _, logs: losses.pro(
        merge(logs, labelled), reference, signal, weights, kl_beta=TABLE_BETA, alpha=TABLE_ALPHA
    )


def _full_objective(lab: Lab) -> Callable[[int, Tensor], Tensor]:
    """eDPO over all responses and off, each in the regulariser for itself, μ on the unlabelled ∝ π_ref."""
    signal, weights = np.zeros_like(lab.log_reference), np.zeros_like(lab.log_reference)
    for p, kind in enumerate(TABLE_KINDS):
        table, law = _table(kind), np.exp(lab.log_reference[p])
        held = list(table.labelled)
        signal[p, held], weights[p, held] = table.signal[:-1], table.weights[:-1]
        others = np.setdiff1d(np.arange(law.size), held)
        weights[p, others] = table.weights[-1] * law[others] / law[others].sum()
    w, mu, reference = lab.tensor(signal), lab.tensor(weights), lab.reference
    return lambda _, logs: losses.pro(logs, reference, w, mu, kl_beta=TABLE_BETA, alpha=TABLE_ALPHA)


def _against_optimum(
    lab: Lab, trained: Trained, claim: str, setting: dict[str, str], betas: Sequence[float], alpha: float
) -> list[Measurement]:
    """Mean and worst total variation to PRO's optimum on Y_H."""
    distances = []
    for p in range(N_PROMPTS):
        table = _table(TABLE_KINDS[p] if claim == "P6" else "pairs")
        optimum = table.optimum(lab.log_reference[p], alpha, betas[p])
        wanted = np.exp(np.append(optimum.log_policy, optimum.hyper_policy))
        reached = np.exp(_merged(trained.log_policy[p], table.labelled))
        distances.append(float(total_variation(reached[None], wanted[None])[0]))
    return [
        measurement(claim, "mean_tv", setting, float(np.mean(distances)), n=N_PROMPTS),
        measurement(claim, "worst_tv", setting, float(np.max(distances)), n=N_PROMPTS),
    ]


def _order_and_constant(lab: Lab, trained: Trained) -> list[Measurement]:
    """P4: log-ratios of unlabelled responses are one constant log C; scored ones lie on their side of it."""
    spread, order = [], []
    ratio = trained.log_policy - lab.log_reference
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


def dpo_form(lab: Lab) -> list[Measurement]:
    """P8: DPO on the labelled pairs plus the proximal term that ties them to H, η = share, α = 1/η²."""
    table = _table("pairs")
    labelled, eta = table.labelled, TABLE_SHARE
    empirical = lab.tensor(table.weights[:-1] / eta)
    rates = 0.5 + _pair_margins()
    weight = lab.tensor(rates)[None] * empirical[:, None] * empirical[None, :]
    betas, reference = lab.tensor(DPO_FORM_BETAS)[:, None], merge(lab.reference, labelled)

    def objective(_: int, logs: Tensor) -> Tensor:
        ratio = betas * (merge(logs, labelled) - reference)
        held, rest = ratio[:, :-1], ratio[:, -1:]
        # ½ L_DPO over μ̂ × μ̂: both orders of a pair are in the sum, so the two halves are one
        pair_losses = torch.nn.functional.softplus(held[:, None, :] - held[:, :, None])
        tied = (1.0 - eta) / eta * (empirical * losses.kl_bernoulli_half(held - rest)).sum(-1)
        return ((weight * pair_losses).sum((-2, -1)) + tied).mean()

    trained = lab.train(objective, "pro_dpo_form")
    return _against_optimum(lab, trained, "P8", {}, DPO_FORM_BETAS, 1.0 / eta**2)


def _pair_margins() -> Array:
    """p̂(y≻y′) − ½ (4, 4) of the labelled pairs; 0 where never compared."""
    pairs = LABELS["pairs"].pairs
    assert pairs is not None
    wins = np.zeros((4, 4))
    np.add.at(wins, (pairs[:, 0], pairs[:, 1]), 1.0)
    met = wins + wins.T
    return np.divide(wins, met, out=np.full((4, 4), 0.5), where=met > 0) - 0.5


#: name of a run → what it measures, on the four prompts of this topic.
RUNS: dict[str, Callable[[Lab], list[Measurement]]] = {
    "pro_pairwise": pairwise,
    "pro_binary": binary,
    "pro_imbalanced": imbalanced,
    "pro_scalar": scalar,
    "pro_tables": tables,
    "pro_dpo_form": dpo_form,
}
