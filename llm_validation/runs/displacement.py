"""Two accounts of displacement on runs of DPO and PRO from one reference: P16. `runs.proximal` trains them.

Features are the reference's own: the scores s_y = ∇ log π_ref(y) in all weights, of every response and of off. Pairs of
all prompts move the weights together, by Σ c_x v_x with v_x = s_chosen − s_rejected of prompt x. At a recorded step c
gives the margins that the run has there, and outcomes are tilted by f = ⟨s, Σ c_x v_x⟩: the path's account is f less
log Σ π_ref e^f, its first order f. The band's is s_w·v, how fast DPO's first step on a pair alone raises the chosen
response; CHES is that of hidden states, negative.

Shapes: P prompts, A responses, S recorded steps, H width; the chosen response is 0, the rejected 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.special import logsumexp
from scipy.stats import spearmanr
from torch import Tensor

from llm_validation.catalogue.reference import Reference
from llm_validation.catalogue.train import Trained
from llm_validation.catalogue.trie import log_policy, node_states
from llm_validation.model.model import full_precision
from simulate.rows.measurement import Measurement, measurement
from theory.proximal.displacement import ches
from theory.validate import Array

#: Nats that a small step of plain descent may move a chosen response by: far above float32's rounding.
SMALL = 2e-3


@full_precision()
def score_products(reference: Reference) -> Array:
    """⟨s_y, v_x⟩ (P, A + 1, P): of every outcome y of every prompt with the pair of every prompt x."""
    model = reference.model()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    logs = log_policy(model, reference.trie())

    def gradient(value: Tensor) -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(value, weights, retain_graph=True)])

    pairs = torch.stack([gradient(own[0] - own[1]) for own in logs])
    rows = [pairs @ gradient(value) for value in logs.flatten()]
    return torch.stack(rows).double().cpu().numpy().reshape(*logs.shape, len(pairs))


def ches_scores(reference: Reference) -> Array:
    """CHES (P,) of every prompt's pair: sums of the last hidden states that a response's tokens are predicted from."""
    trie = reference.trie()
    with torch.no_grad():
        states = node_states(reference.model(), trie).double()
    # one row more, of zeros, where a response is shorter
    parents = torch.cat([states[trie.edge[:, 0]], states.new_zeros(1, states.shape[1])])
    sums = parents[trie.response].sum(1).view(trie.n_prompts, trie.n_responses, -1).cpu().numpy()
    return ches(sums[:, 0], sums[:, 1])


def tilts(products: Array, margins: Array) -> Array:
    """f (S, P, A + 1) that give the pairs these margins (S, P)."""
    c = np.linalg.solve(products[:, 0] - products[:, 1], margins.T).T
    return np.asarray(np.einsum("pyx,sx->spy", products, c))


@full_precision()
def small_step(reference: Reference, products: Array, weights: Array) -> float:
    """Slope through 0 of what a small step along Σ weights_x v_x does to the chosen responses on ⟨s_w, step⟩."""
    model = reference.model()
    logs = log_policy(model, reference.trie())
    (reference.tensor(weights) @ (logs[:, 0] - logs[:, 1])).backward()
    predicted = products[:, 0] @ weights
    size = SMALL / np.abs(predicted).max()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.grad is not None:
                weight += size * weight.grad
        moved = (log_policy(model, reference.trie()) - logs).double().cpu().numpy()[:, 0]
    return float(moved @ predicted / (size * predicted @ predicted))


def accounts(reference: Reference, products: Array, dpo: Trained) -> dict[str, Array]:
    """Account → what it says of the chosen responses (S, P) at the recorded steps after the reference."""
    moved = dpo.path[1:] - reference.log_law
    f = tilts(products, moved[..., 0] - moved[..., 1])
    own = np.arange(len(reference.log_law))
    rates = {"band": products[own, 0, own], "CHES": -ches_scores(reference)}
    return {
        "path": f[..., 0] - logsumexp(reference.log_law + f, axis=-1),
        "first order": f[..., 0],
        **{name: np.broadcast_to(rate, f.shape[:2]) for name, rate in rates.items()},
    }


def rival_rows(reference: Reference, dpo: Trained, pro: Trained, kl_betas: Array) -> Iterator[Measurement]:
    """P16's rows of a run of DPO and one of PRO on the same pairs."""
    products = score_products(reference)
    said, moved = accounts(reference, products, dpo), (dpo.path[1:] - reference.log_law)[..., 0]
    miss = {name: np.abs(said[name] - moved) for name in ("path", "first order")}
    raised = pro.log_policy[:, 0] > reference.log_law[:, 0]
    yield measurement("P16", "trained_start", {}, small_step(reference, products, kl_betas), n=len(raised))
    yield measurement("P16", "trained_pro", {}, float(raised.mean()), n=len(raised))
    nearer = (miss["path"] < miss["first order"]).mean()
    yield measurement("P16", "trained_nearer", {}, float(nearer), n=moved.size)
    for name, account in said.items():
        at, ranks = {"account": name}, [spearmanr(a, b).statistic for a, b in zip(account, moved, strict=True)]
        yield measurement("P16", "trained_rank", at, float(np.mean(ranks)), n=moved.size)
        yield measurement("P16", "trained_sign", at, float((np.sign(account) == np.sign(moved)).mean()), n=moved.size)
