"""What is measured on a model that others trained: the methods' laws, predicted from its measured reference.

Off the catalogue takes up the normalisation: where responses have e^−10 and less, a policy's constraint Σπ = 1 does not
bind and the minimisers over all functions are attained as they stand. Predictions are the constrained optima on
responses and off all the same, which covers both cases. RLHF, NLHF and DPO on comparisons are judged as a choice among
the catalogue's answers (`measured.on_the_catalogue`).

Shapes: P prompts, A responses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from llm_validation.catalogue.measured import on_the_catalogue, one_word_apart
from llm_validation.catalogue.reference import Reference, conditional, measure_reference, total_variation
from llm_validation.catalogue.train import Trained
from llm_validation.claims.real_settings import DIFFERENCE, DISPLACED, PAIR, RATIO_CLAIM, SCORED, WEIGHT
from llm_validation.claims.settings import FITTED_BETA, POOLED_SHARE, RDRO_ALPHA
from llm_validation.losses import pairs
from llm_validation.runs.comparisons import Situation, comparison_objective, pair_objective
from llm_validation.runs.proximal import PAIR as ONE_PAIR
from llm_validation.runs.proximal import beside_hyper, merge, merged, pro_on_pairs, pro_on_responses
from llm_validation.runs.unpaired import (
    HELD_OUT,
    Classes,
    constrained_policies,
    expectation,
    fixed_constant_policies,
    read_off,
    train_fitted,
)
from simulate.montecarlo import generator
from simulate.people.data import People
from simulate.rows.measurement import Measurement, measurement
from theory.bradley_terry import Population, fit_rewards, product_pairs
from theory.divergences.losses import find_loss
from theory.policy import nash, rewards
from theory.proximal.claims import scalar_gap
from theory.proximal.closed_forms import binary_log_ratio
from theory.proximal.settings import SCALAR_SCORES
from theory.validate import Array

#: Draws per prompt and class; comparisons per prompt; users of a drawn population.
DRAWS, COMPARISONS, USERS = 10**6, 10**6, 5
#: Of the users, behind the standard error of a distortion.
RESAMPLES = 200


def level_rows(claim: str, method: str, reached: Array, predicted: Array) -> list[Measurement]:
    """Largest and mean error of log-ratios (P, A), nats, and the slope of the measured on the predicted ones."""
    error = np.abs(reached - predicted)
    p, y = np.unravel_index(int(error.argmax()), error.shape)
    at = {"method": method}
    return [
        measurement(claim, "real_error", at, float(error.max()), n=error.size, note=f"prompt {p}, response {y}"),
        measurement(claim, "real_mean_error", at, float(error.mean()), n=error.size),
        measurement(claim, "real_slope", at, _slope(reached, predicted), n=error.size),
    ]


def _slope(reached: Array, predicted: Array) -> float:
    x, z = (v.ravel() - v.mean() for v in (predicted, reached))
    return float(x @ z / (x @ x))


def _ratio(reference: Reference, trained: Trained) -> Array:
    return (trained.log_policy - reference.log_law)[:, :-1]


def pro(reference: Reference) -> list[Measurement]:
    """PRO-P on one pair per prompt: where chosen, rejected and H go (P12)."""
    alpha, kl_beta = PAIR
    objective = pro_on_pairs(reference, alpha, kl_beta)
    trained = reference.train(objective, "pro", schedule=reference.schedule.slower(2.0 / 3.0).longer(3))
    optima = [ONE_PAIR.optimum(law, alpha, kl_beta) for law in reference.log_law]
    predicted = np.stack([optimum.log_ratio for optimum in optima])
    reached = _ratio(reference, trained)[:, :2]
    relative = np.abs(reached / predicted - 1.0)
    return [
        *(
            measurement("P12", "real_levels", {"response": name}, float(relative[:, y].max()), n=len(relative))
            for y, name in enumerate(("chosen", "rejected"))
        ),
        measurement("P12", "real_slope", {"method": "pro"}, _slope(reached, predicted)),
    ]


def pro_binary(reference: Reference) -> list[Measurement]:
    """PRO on a score of the first response of each prompt, half of them negative (P10)."""
    signs = np.where(np.arange(len(reference.log_law)) % 2, -0.5, 0.5)
    predicted = np.array([[binary_log_ratio(float(sign), SCORED[0])] for sign in signs])
    return _scored(reference, "P10", pro_on_responses(reference, reference.tensor(signs), *SCORED), predicted)


def pro_scalar(reference: Reference) -> list[Measurement]:
    """PRO on the scores of the first four responses of each prompt (P11)."""
    P, n = len(reference.log_law), len(SCALAR_SCORES)
    scores = reference.tensor(np.tile(SCALAR_SCORES, (P, 1)))
    predicted = np.tile([scalar_gap(n, y, SCORED[0]) for y in range(n)], (P, 1))
    loss = lambda m, ref, **how: pairs.pro_scalar(m, ref, scores, **how)
    return _scored(reference, "P11", beside_hyper(loss, reference, n, *SCORED), predicted)


def _scored(
    reference: Reference, claim: str, objective: Callable[[int, Tensor], Tensor], predicted: Array
) -> list[Measurement]:
    """The largest error of r(y) − r(H) of the scored responses, predicted (P, n)."""
    labelled, kl_beta = range(predicted.shape[1]), SCORED[1]
    trained = reference.train(objective, f"real {claim}", schedule=reference.schedule.slower(2.0 / 3.0))
    ratio = kl_beta * (merged(trained.log_policy, labelled) - merge(reference.logs, labelled).double().cpu().numpy())
    error = np.abs(ratio[:, :-1] - ratio[:, -1:] - predicted)
    p, y = np.unravel_index(int(error.argmax()), error.shape)
    return [measurement(claim, "real_gap", {}, float(error.max()), n=error.size, note=f"prompt {p}, response {y}")]


def kto(reference: Reference) -> list[Measurement]:
    """KTO with a constant per prompt, classes unlike the reference: the divergence that held-out draws read off."""
    classes = random_classes(reference)
    _, rewards = train_fitted(reference, classes, "kto", FITTED_BETA["kto"], "real kto")
    laws = classes.chosen_law, classes.rejected_law
    values, stderr = read_off("kto", rewards, *laws, generator(reference.seed, "real held out"))
    exact = [find_loss("kto").divergence(p, q) for p, q in zip(*laws, strict=True)]
    return [measurement("V2", "real_held_out", {"method": "kto"}, float(np.mean(values - exact)), stderr, HELD_OUT)]


def random_classes(reference: Reference) -> Classes:
    """Laws of chosen and rejected responses that have nothing to do with the reference, and draws from them."""
    rng, (P, A) = generator(reference.seed, "real classes"), (len(reference.log_law), reference.n_responses)
    p, q = (0.3 / A + 0.7 * rng.dirichlet(np.full(A, 4.0), P) for _ in range(2))
    return Classes(p, q, *(rng.multinomial(DRAWS, law) / DRAWS for law in (p, q)))


def predicted_ratios(reference: Reference, classes: Classes, name: str) -> Array:
    """log π/π_ref (P, A) at the constrained optimum from the measured law; of KLDO less a constant of the prompt."""
    if name == "kldo":
        return np.log(classes.chosen / classes.rejected)
    if name in ("ddro", "rdro", "rdro_pooled"):
        alpha = None if name == "ddro" else RDRO_ALPHA
        optima = constrained_policies(reference, classes, alpha, POOLED_SHARE if name == "rdro_pooled" else None)
    else:
        optima = fixed_constant_policies(reference, classes, name)
    return (np.log(optima) - reference.log_law)[:, :-1]


def ratios(reference: Reference, name: str) -> list[Measurement]:
    """One loss of single responses at kl_beta 1, from classes unlike the reference."""
    classes = random_classes(reference)
    seen = classes.pooled(POOLED_SHARE) if name == "rdro_pooled" else classes
    trained = reference.train(expectation(reference, seen, name, 1.0), f"real {name}")
    reached, predicted = _ratio(reference, trained), predicted_ratios(reference, classes, name)
    if name == "kldo":  # its loss leaves one constant per prompt open
        reached, predicted = (v - v.mean(axis=1, keepdims=True) for v in (reached, predicted))
    return level_rows(RATIO_CLAIM[name], name, reached, predicted)


def displacement(reference: Reference, kind: str) -> list[Measurement]:
    """DPO on one pair per prompt, or on all pairs of four responses: where everything goes that it was not told of.

    kind  of the pairs, `DISPLACED`: "one pair", "many pairs", "one word" (the last response is the first but for one
          word, and is the rejected one)
    """
    if kind == "one word":
        apart = one_word_apart(reference.model(), reference.encoded)
        law = measure_reference(reference.model(), apart.trie().to(reference.device))
        reference = replace(reference, encoded=apart, log_law=law)
    A = reference.n_responses
    drawn = {"one pair": [(0, 1)], "one word": [(0, A - 1)], "many pairs": [(i, j) for i in range(4) for j in range(i)]}
    chosen, rejected = (list(side) for side in zip(*drawn[kind], strict=True))
    objective = pair_objective(pairs.dpo, reference, chosen, rejected, kl_beta=PAIR[1])
    trained = reference.train(objective, f"real dpo {kind}", schedule=reference.schedule.slower(2.0 / 3.0))
    moved = trained.log_policy - reference.log_law
    rest = [y for y in range(A) if y not in {*chosen, *rejected}]
    at, roles = {"pairs": kind}, {"chosen": chosen, "rejected": rejected, "unlabelled": rest}
    rows = [
        measurement("P5", "real_moved", {**at, "response": name}, float(moved[:, own].mean()), n=moved[:, own].size)
        for name, own in {**roles, "off": [-1]}.items()
    ]
    for step, law in zip(trained.step, trained.path, strict=True):
        path = law - reference.log_law
        rows += [
            measurement("P5", "real_path", {**at, "response": name, "step": int(step)}, float(path[:, own].mean()))
            for name, own in roles.items()
        ]
    for role, own in roles.items():
        once = set(own) - set(chosen) if role == "rejected" else set(own)
        rows += [
            measurement("P5", "real_response", {**at, "prompt": p, "response": y}, float(value), note=role)
            for y in sorted(once)
            for p, value in enumerate(moved[:, y])
        ]
    return [*rows, measurement("P5", "real_loss", at, float(trained.loss[-1])), _far_from(moved[:, rest], at)]


def _far_from(moved: Array, at: dict[str, str]) -> Measurement:
    """Log of the mean |log π/π_ref| of responses (P, A); its standard error is over prompts."""
    each = np.abs(moved).mean(axis=1)
    error = each.std(ddof=1) / math.sqrt(each.size) / each.mean() if each.size > 1 else 0.0
    return measurement("P5", "real_unlabelled", at, float(np.log(each.mean())), float(error), each.size,
                       note=f"mean {each.mean():.2f} nats, least prompt {each.min():.2f}")  # fmt: skip


def natural(reference: Reference, payoff: Callable[[Tensor], Tensor]) -> Callable[[int, Tensor], Tensor]:
    """E_π[payoff] − KL(π‖π_ref) by the exact natural policy gradient (Kakade, 2001), mean over prompts.

    payoff  law (P, A) ↦ payoffs over λ (P, A), without gradient. The plain gradient moves a response in proportion to
    its probability and leaves rare ones where they are; this one moves log π along the advantage, and both vanish
    where the advantage is the same for all responses.
    """
    ref = reference.logs[:, :-1]

    def objective(_: int, logs: Tensor) -> Tensor:
        on = logs[:, :-1]
        with torch.no_grad():
            advantage = payoff(on.exp()) - (on - ref)
            value = (on.exp() * advantage).sum(-1).mean()
            step = advantage - advantage.mean(-1, keepdim=True)
        surrogate = -(step * on).sum(-1).mean()
        return surrogate - surrogate.detach() - value

    return objective


def train_choices(reference: Reference, prompts: list[Situation], method: str, weight: float) -> tuple[Array, Array]:
    """The law (P, A) among the catalogue's answers that RLHF, DPO or NLHF reaches, and the one predicted."""
    chosen = on_the_catalogue(reference)
    rates = reference.tensor(np.stack([s.win_rates for s in prompts]) - 0.5)
    fitted = np.stack([fit_rewards(s.win_rates, s.pair_weights).rewards for s in prompts])
    scaled = reference.tensor(fitted / weight)
    objective = {
        "rlhf": lambda: natural(chosen, lambda _: scaled),
        "nlhf": lambda: natural(chosen, lambda law: torch.einsum("pxy,py->px", rates, law) / weight),
        "dpo": lambda: comparison_objective(pairs.dpo, chosen, prompts, np.full(len(prompts), weight)),
    }[method]()
    trained = chosen.train(objective, f"real {method}")
    target = []
    for s, r, law in zip(prompts, fitted, chosen.log_law[:, :-1], strict=True):
        if method == "nlhf":
            target.append(nash.nlhf_regularized(s.win_rates, None, weight, log_reference=law).policy)
        else:
            target.append(rewards.rlhf_penalty(r, None, weight, log_reference=law))
    return conditional(trained.policy), np.stack(target)


def users(reference: Reference, method: str) -> list[Measurement]:
    """RLHF, NLHF or DPO on the comparisons of a drawn population over the model's own answers."""
    rng, prompts = generator(reference.seed, "real users"), []
    for p in range(len(reference.log_law)):
        crowd = Population(rng.beta(0.5, 0.5, (USERS, reference.n_responses)), rng.dirichlet(np.ones(USERS)))
        prompts.append(Situation.drawn(str(p), crowd, 5.0, COMPARISONS, rng))
    reached, target = train_choices(reference, prompts, method, WEIGHT[method])
    distance, claim = total_variation(reached, target), "D9" if method == "nlhf" else "D12"
    return [
        measurement(claim, "real_tv", {"method": method}, float(distance.max()), n=distance.size),
        measurement(claim, "real_mean_tv", {"method": method}, float(distance.mean()), n=distance.size),
    ]


def people(
    reference: Reference, crowd: People, about: dict[str, str | int], betas: tuple[float, ...]
) -> list[Measurement]:
    """Distortion that each method reaches on rated items, beside its tabular value; one prompt per bt_beta.

    Of an item whom not all rated, the average utility is its raters', and so are the comparisons of a pair.
    """
    prompts = [crowd_compares(crowd, beta, generator(reference.seed, "real people", beta)) for beta in betas]
    n = crowd.n_users
    weights = generator(reference.seed, "real bootstrap").multinomial(n, np.full(n, 1.0 / n), RESAMPLES) / n
    utilities = crowd.rated.average_utilities(np.vstack([np.full(n, 1.0 / n), weights]))
    rows: list[Measurement] = []
    for method in DIFFERENCE:
        reached, target = train_choices(reference, prompts, method, WEIGHT[method])
        for p, s in enumerate(prompts):
            at = {**about, "method": method, "bt_beta": s.bt_beta}
            value, *draws = utilities.max(axis=1) / (utilities @ reached[p])
            predicted = float(utilities[0].max() / (utilities[0] @ target[p]))
            rows += [
                measurement("D17", "real", at, value / predicted - 1.0),
                measurement("D17", "real_distortion", at, value, stderr=float(np.nanstd(draws, ddof=1)), n=n),
                measurement("D17", "real_tabular", at, predicted, n=n),
            ]
    return rows


def crowd_compares(crowd: People, bt_beta: float, rng: np.random.Generator) -> Situation:
    """Drawn comparisons of all pairs, equally often, each by the users who rated both of its items.

    ValueError names a pair that nobody rated both of: no method here could know who would win.
    """
    if missing := crowd.rated.unrated_pairs():
        raise ValueError(
            f"{crowd.name}: nobody rated both {' and '.join(missing[0])}; leave one of them out by --items"
        )
    rates = crowd.rated.win_rates(np.full((1, crowd.n_users), 1.0 / crowd.n_users), bt_beta)[0]
    A = crowd.n_items
    x, y = np.triu_indices(A, k=1)
    each = COMPARISONS // x.size
    drawn = np.full((A, A), 0.5)
    drawn[x, y] = rng.binomial(each, rates[x, y]) / each
    drawn[y, x] = 1.0 - drawn[x, y]
    pairs_ = product_pairs(np.full(A, 1.0 / A)) * (1.0 - np.eye(A))
    nobody = Population(np.ones((1, A)))  # the comparisons are what is given here
    return Situation(str(bt_beta), nobody, bt_beta, drawn, pairs_ / pairs_.sum(), np.inf)


#: name → what it measures of a reference with the model's own answers. In the order in which they are run.
RUNS: dict[str, Callable[[Reference], Iterable[Measurement]]] = {
    "pro": pro,
    "pro binary": pro_binary,
    "pro scalar": pro_scalar,
    "kto": kto,
    **{name: partial(ratios, name=name) for name in RATIO_CLAIM},
    **{f"dpo {kind}": partial(displacement, kind=kind) for kind in DISPLACED},
    **{method: partial(users, method=method) for method in DIFFERENCE},
}
