"""Prompts that nobody trained on, predicted from the reference's own features: P15 on a language model.

Every prompt is a story up to the word for its place, and a response is that one token: one choice of a linear softmax
whose features are the last hidden states. What a prompt's comparisons say depends on its animal, and held-out prompts
are about other animals. With the output head trained alone features are fixed, and theory's convex problem says where
held-out prompts end. The same prediction is then compared, between the responses of a prompt, with what training all
weights does (AdamW, as everywhere): there the features move, and so does the mass off the catalogue, to which both
losses are blind. A model that others trained is asked about the same stories.

Which of the two it is that parts them, that features move or that AdamW's steps are no descent, is seen where little
moves, at a large kl_beta: there gradient descent on all weights has features too, the gradients of log π, and they
stay nearly where they are.

A response of several tokens would be a chain of such choices, in which the losses are not convex in the head.
Shapes: P prompts, the trained ones first, A responses, H width.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from llm_validation.catalogue.measured import measured
from llm_validation.catalogue.reference import Reference, measure_reference
from llm_validation.catalogue.stacked_seeds import run_stacked
from llm_validation.catalogue.texts import Encoded
from llm_validation.catalogue.train import Trainer, train_one
from llm_validation.catalogue.trie import build_trie, log_policy, log_policy_of_logits, node_logits, node_states
from llm_validation.claims.settings import HELD_OUT_BETA
from llm_validation.losses import pairs
from llm_validation.model.model import Loaded, full_precision, load
from llm_validation.runs.run import Context, Run
from llm_validation.text.language import ANIMALS, NAMES, PLACES, opening
from llm_validation.training.schedule import Schedule
from simulate.montecarlo import generator
from simulate.rows.measurement import Measurement, measurement
from theory.proximal import held_out as theory
from theory.validate import Array

METHODS = ("pro", "dpo")
#: Draws of a seed; prompts that are trained on, of one animal each, the others being held out; responses to each.
DRAWS, TRAINED, RESPONSES = 6, 4, 6
#: What the number of steps of all weights is a part of, of ours and of a model that others trained: convergence takes
#: less than the number for a whole catalogue.
SHORTER, REAL_SHORTER = 2, 3
#: How the head is trained: until no step lowers the loss; and the largest gradient that may be left.
LBFGS, STATIONARY = {"maxiter": 20_000, "maxfun": 20_000, "maxcor": 30, "ftol": 0.0, "gtol": 1e-12}, 1e-7
#: Where little moves: kl_beta, draws, and the steps of gradient descent with Nesterov's momentum.
TANGENT_BETA, TANGENT_DRAWS, DESCENT, MOMENTUM = 1000.0, 3, Schedule(steps=100, rate=1.0, clip=math.inf), 0.9
#: Directions of the gradients below this, relative to the largest, are rounding of float32.
FLOAT32 = 1e-10
#: (step, log π (P, A + 1)) → the mean loss over the trained prompts.
Loss = Callable[[int, Tensor], Tensor]
#: The reference at drawn prompts, and what is compared there; check → what its ratio has above the line and below.
Draw = tuple[Reference, list[theory.Pairs]]
Sums = dict[str, tuple[float, float]]


def story_reference(loaded: Loaded, schedule: Schedule, seed: int, rng: np.random.Generator) -> Draw:
    """The model at drawn prompts, where its likeliest tokens are the responses; and what is compared there."""
    kinds, model = rng.permutation(len(ANIMALS)), loaded.model
    stories = [opening(name, ANIMALS[k], PLACES[0]) for name, k in zip(rng.permutation(NAMES), kinds, strict=True)]
    prompts = [loaded.tokenizer.encode(story.rpartition(" ")[0], add_special_tokens=False) for story in stories]
    with torch.no_grad():
        trie = build_trie(prompts, [[(0,), (1,)]] * len(prompts)).to(next(model.parameters()).device)
        logits = node_logits(model, trie)
    likely = torch.softmax(logits, -1).mean(0).topk(RESPONSES).indices.tolist()
    encoded = Encoded(tuple(map(tuple, prompts)), (tuple((token,) for token in likely),) * len(prompts))
    reference = measured(loaded, encoded, seed=seed, schedule=schedule, trainer=train_one)
    return reference, [theory.pairs(int(kind), RESPONSES) for kind in kinds]


def loss_of(method: str, reference: Reference, compared: list[theory.Pairs], kl_beta: float = HELD_OUT_BETA) -> Loss:
    """DPO or PRO on the comparisons of the trained prompts."""
    ref = torch.as_tensor(reference.log_law[:TRAINED, :-1], device=reference.device)
    signal = ref.new_tensor(theory.labels("pro", compared[:TRAINED], RESPONSES).signal)
    sides = torch.tensor([own[0] for own in compared[:TRAINED]], device=reference.device)
    drawn = ref.new_tensor([theory.WIN_SHARE, 1.0 - theory.WIN_SHARE]).expand(TRAINED, 2) / TRAINED

    def loss(_: int, logs: Tensor) -> Tensor:
        own, other = logs[:TRAINED, :-1], ref.to(logs)
        if method == "pro":
            weights = torch.full_like(other, 1.0 / RESPONSES)
            return pairs.pro(own, other, signal.to(logs), weights, kl_beta=kl_beta, alpha=theory.ALPHA)
        own, other = own.gather(1, sides), other.gather(1, sides)
        return pairs.dpo(own, own.flip(1), other, other.flip(1), kl_beta=kl_beta, weight=drawn.to(logs))

    return loss


def states_of(reference: Reference) -> Tensor:
    """(P, H) last hidden states where the responses are chosen, float64."""
    with torch.no_grad():
        return node_states(reference.model(), reference.trie()).double()


def with_the_head(reference: Reference, loss: Loss) -> Array:
    """log π (P, A + 1) where the head's rows of the responses end, by L-BFGS from where they are; features stay.

    Other rows have no gradient: both losses are blind to what moves all responses of a prompt alike. L-BFGS's steps are
    combinations of gradients, as descent's are, so that both end at the same one of all optima.
    """
    states, trie, rows = states_of(reference), reference.trie(), list(reference.encoded.responses[0])
    fixed = states @ reference.model().get_output_embeddings().weight.detach().T.to(states)
    place = torch.tensor(rows, device=states.device)[:, 0]

    def logs(moved: Tensor) -> Tensor:
        return log_policy_of_logits(fixed.index_add(1, place, states @ moved.T), trie)

    def slopes(flat: Array) -> tuple[float, Array]:
        moved = states.new_tensor(flat).view(RESPONSES, -1).requires_grad_()
        value = loss(0, logs(moved))
        value.backward()
        return value.item(), moved.grad.cpu().numpy().ravel()  # type: ignore[union-attr]  # backward has set it

    start = np.zeros(RESPONSES * states.shape[1])
    found = minimize(slopes, start, jac=True, method="L-BFGS-B", options=LBFGS)
    if not np.abs(found.jac).max() <= STATIONARY:
        raise ArithmeticError(f"the head ends with a gradient of {np.abs(found.jac).max():.1e}: {found.message}")
    with torch.no_grad():
        return np.asarray(logs(states.new_tensor(found.x).view(RESPONSES, -1)).cpu().numpy())


def with_all_weights(reference: Reference, loss: Loss, name: str, **how: Any) -> Array:
    """log π (P, A + 1) where a copy ends all of whose weights learn the trained prompts; `how` as in `train`."""
    model: Any = copy.deepcopy(reference.model()).requires_grad_(True)
    reference.part(slice(TRAINED)).train(loss, name, model=model, **how)
    return measure_reference(model, reference.trie())


def by_descent(reference: Reference, loss: Loss, rate: float, name: str) -> Array:
    """Likewise by gradient descent. The loss is scaled, not the step: draws whose rates differ are of one stack."""
    scaled: Loss = lambda step, logs: rate * loss(step, logs)
    return with_all_weights(reference, scaled, name, schedule=DESCENT, momentum=MOMENTUM)


def gradient_products(reference: Reference) -> Array:
    """Inner products (P, A + 1, P, A + 1) of the gradients of log π in all weights, float64."""
    model: Any = copy.deepcopy(reference.model()).requires_grad_(True)
    logs, weights = log_policy(model, reference.trie()), list(model.parameters())
    rows = [torch.autograd.grad(value, weights, retain_graph=True) for value in logs.flatten()]
    products = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for own in zip(*rows, strict=True):  # a weight matrix after another: together they may not fit
        flat = torch.stack(own).flatten(1).double()
        products += (flat @ flat.T).cpu()
    return np.asarray(products.numpy()).reshape(*logs.shape, *logs.shape)


def steepest(loss: Loss, reference: Reference, products: Array) -> float:
    """The largest curvature of the loss along the trained prompts' gradients, to first order in what moves."""
    logs = torch.as_tensor(reference.log_law[:TRAINED], device=reference.device)
    curved: Any = torch.autograd.functional.hessian(lambda own: loss(0, own), logs)
    size = logs.numel()
    products = products[:TRAINED, :, :TRAINED].reshape(size, size)
    return float(np.linalg.eigvals(curved.cpu().numpy().reshape(size, size) @ products).real.max())


def predicted(method: str, reference: Reference, compared: list[theory.Pairs]) -> Array:
    """log π/π_ref (P, A + 1) by theory, from the reference's states alone: one block of features per response."""
    states = states_of(reference).cpu().numpy()
    own = np.eye(RESPONSES + 1, RESPONSES)  # off the catalogue there are none: no loss here moves the head's other rows
    phi = np.einsum("ph,yz->pyzh", states, own).reshape(len(states), RESPONSES + 1, -1)
    told = theory.labels(method, compared[:TRAINED], RESPONSES)
    return theory.log_ratios(phi, reference.log_law, theory.optimum(phi[:TRAINED, :-1], told, HELD_OUT_BETA))


def predicted_by_gradients(
    method: str, reference: Reference, compared: list[theory.Pairs], products: Array, rate: float
) -> tuple[Array, Array]:
    """log π/π_ref (P, A + 1) at `TANGENT_BETA` by theory, with the gradients of all weights for features.

    After as many steps as `by_descent` takes at this rate, and at the optimum: under PRO the two are far apart where
    gradients of a prompt's responses hardly differ.
    """
    count, told = reference.log_law.size, theory.labels(method, compared[:TRAINED], RESPONSES)
    sizes, ways = np.linalg.eigh(products.reshape(count, count))
    held = sizes > FLOAT32 * sizes[-1]
    phi = (ways[:, held] * np.sqrt(sizes[held])).reshape(*reference.log_law.shape, -1)
    rates = [rate * DESCENT.rate_at(step) / TRAINED for step in range(DESCENT.steps)]  # the loss is a mean of prompts
    thetas = (
        theory.descended(phi[:TRAINED, :-1], told, TANGENT_BETA, rates, MOMENTUM),
        theory.optimum(phi[:TRAINED, :-1], told, TANGENT_BETA),
    )
    after, end = (theory.log_ratios(phi, reference.log_law, theta) for theta in thetas)
    return after, end


@full_precision()
def held_out(context: Context, seed: int) -> list[Measurement]:
    """P15 on a model of our own.

    Where little moves, all draws and both methods are one stack. Where more does, AdamW makes of rounding what rows
    show in their third digit: each is trained alone, as on a model that others trained. What little moves is no more
    than the rounding of TF32, so that a GPU computes in float32 here.
    """
    loaded = load(context.base).to(context.device)
    draws = _draws(loaded, context.profile.runs, SHORTER, seed)
    tangent = [(*draw, gradient_products(draw[0])) for draw in draws[:TANGENT_DRAWS]]
    return [*ratios("", _alone(sums, draws)), *ratios("", _together(tangent_sums, tangent))]


def real_held_out(loaded: Loaded, schedule: Schedule, seed: int) -> list[Measurement]:
    """P15 on a model that others trained, whose gradients do not fit into memory."""
    return ratios("real_", _alone(sums, _draws(loaded, schedule, REAL_SHORTER, seed)))


def _draws(loaded: Loaded, schedule: Schedule, shorter: int, seed: int) -> list[Draw]:
    rng, schedule = generator(seed, "P15", "prompts"), replace(schedule, steps=max(1, schedule.steps // shorter))
    return [story_reference(loaded, schedule, seed, rng) for _ in range(DRAWS)]


def _alone(sums: Callable[..., Sums], draws: Sequence[Draw]) -> dict[str, list[Sums]]:
    """The sums (method, *draw) of all draws."""
    return {method: [sums(method, *draw) for draw in draws] for method in METHODS}


def _together(sums: Callable[..., Sums], draws: Sequence[tuple[Any, ...]]) -> dict[str, list[Sums]]:
    """Likewise, with all trainings of the same schedule as one stack."""

    def run(method: str, draw: tuple[Any, ...], trainer: Trainer) -> Sums:
        reference, *others = draw
        return sums(method, replace(reference, trainer=trainer), *others)

    found = iter(run_stacked([partial(run, method, draw) for method in METHODS for draw in draws]))
    return {method: list(islice(found, len(draws))) for method in METHODS}


def ratios(prefix: str, found: Mapping[str, Sequence[Sums]]) -> list[Measurement]:
    """Of each method, ratios of sums over draws with their standard errors; of an error the largest.

    prefix  of the checks' names
    """
    rows = []
    for method, draws in found.items():
        n = len(draws)
        for check in draws[0]:
            part, whole = np.array([own[check] for own in draws]).T
            value = part.sum() / whole.sum()
            error = np.sqrt(n / (n - 1) * ((part - value * whole) ** 2).sum()) / whole.sum()
            if check == "trained_error":
                value, error = part.max(), 0.0
            rows.append(measurement("P15", prefix + check, {"method": method}, float(value), float(error), n))
    return rows


def sums(method: str, reference: Reference, compared: list[theory.Pairs]) -> Sums:
    """Of one draw, over its held-out prompts: the head and all weights against the states' prediction."""
    states = torch.nn.functional.normalize(states_of(reference), dim=1)
    nearest = (states[TRAINED:] @ states[:TRAINED].T).argmax(1).tolist()
    loss, expected = loss_of(method, reference, compared), predicted(method, reference, compared)[:, :-1]
    ends = with_the_head(reference, loss), with_all_weights(reference, loss, f"held_out_{method}")
    head, whole = ((end - reference.log_law)[:, :-1] for end in ends)
    error, moved = np.abs(head - expected)[TRAINED:].max(), np.abs(head)[TRAINED:].mean()
    expected, head, whole = (ratios - ratios.mean(axis=1, keepdims=True) for ratios in (expected, head, whole))
    x, y, z = expected[TRAINED:], head[TRAINED:], whole[TRAINED:]
    missed, copied, squares = ((z - x) ** 2).sum(), ((z - whole[nearest]) ** 2).sum(), (z * z).sum()
    return {
        "trained_slope": ((x * y).sum(), (x * x).sum()),
        "trained_error": (error, 1.0),
        "trained_moved": (moved, 1.0),
        "full_slope": ((x * z).sum(), (x * x).sum()),
        "full_explained": (squares - missed, squares),
        "full_beyond": (copied - missed, squares),
    }


def tangent_sums(method: str, reference: Reference, compared: list[theory.Pairs], products: Array) -> Sums:
    """Likewise of all weights where little moves, by gradient descent and by AdamW; `gradient_products`."""
    loss = loss_of(method, reference, compared, TANGENT_BETA)
    rate = 1.0 / steepest(loss, reference, products)
    ends = (
        *(by_theory[:, :-1] for by_theory in predicted_by_gradients(method, reference, compared, products, rate)),
        (by_descent(reference, loss, rate, f"held_out_descent_{method}") - reference.log_law)[:, :-1],
        (with_all_weights(reference, loss, f"held_out_adamw_{method}") - reference.log_law)[:, :-1],
    )
    after, end, y, z = ((ratios - ratios.mean(axis=1, keepdims=True))[TRAINED:] for ratios in ends)
    return {
        "tangent_slope": ((after * y).sum(), (after * after).sum()),
        "tangent_explained": ((y * y).sum() - ((y - after) ** 2).sum(), (y * y).sum()),
        "tangent_adamw": ((z * z).sum() - ((z - end) ** 2).sum(), (z * z).sum()),
    }


RUNS = (Run("held_out", held_out, ("P15",), catalogue=None),)
