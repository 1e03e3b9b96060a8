"""Alignment losses as pure torch functions of summed sequence log-probabilities, and the flat table of them all.

A sequence's log-probability is the sum over its completion tokens (EOS included) of log π(token | prefix), never a
mean over tokens. With lr = log π(y|x) − log π_ref(y|x) the implicit reward is r = kl_beta·lr; sp(x) = log(1 + eˣ).

    dpo           −E log σ(r_w − r_l)
    ipo           E (lr_w − lr_l − 1/(2·kl_beta))²
    pro_pairwise  −(r_w − r_l)/8 + (α/9)(klB(r_w − r_l) + klB(r_w − r(H)) + klB(r_l − r(H)))
    pro_binary    −s(r(y) − r(H)) + α klB(r(y) − r(H))
    pro_scalar    −(1/N) Σ s_i (r_i − r(H)) + α · mean over the pairs of Y_H of klB
    kto           E₊[σ(−(r − z₀))] + E₋[σ(r − z₀)]
    bco           E₊[sp(−(r − δ))] + E₋[sp(r − δ)]
    kldo          −E₊[r] + log E₋[e^r], the log over all prompts or one per prompt
    fdo           −E₊[g(r)] + E₋[f*(g(r))] for a generator f
    ddro          E₊[sp(−lr)] + E₋[sp(lr)]
    rdro          E₊[(1+α) sp(lr) − lr] + (1−α) E₋[sp(lr)]

Arguments, in this order throughout: policy_chosen, policy_rejected, reference_chosen, reference_rejected, each (B,)
in nats (the two classes of an unpaired loss may differ in length). `weight` arguments are (B,) masses that replace
the batch mean by an exact expectation Σ weight·loss; they are used as given and never renormalised. kl_beta, alpha
and shifts are numbers or tensors that broadcast against the batch. No gradient flows through a reference.

Every loss is a mean over its batch or over each class (class means), never a sum and never a mean over tokens: that is
how the public implementations differ most, and each entry of `LOSSES` says so where it departs from its paper.

    pairs, unpaired, density_ratio   the losses, by what they learn from;  table  all of them
    generators, options, parts       generators of FDO; options that are refused; what losses are made of
    changes, probes                  for `llm_validation.conformance`: what a trainer may change, and where it is seen

Examples
--------
>>> import torch
>>> chosen, rejected, reference = torch.tensor([-4.0]), torch.tensor([-6.0]), torch.tensor([-5.0])
>>> round(float(dpo(chosen, rejected, reference, reference, kl_beta=0.5)), 4)  # log(1 + e^{−½·2})
0.3133
"""

from llm_validation.losses.density_ratio import ddro, rdro
from llm_validation.losses.generators import GENERATORS
from llm_validation.losses.pairs import dpo, ipo, pro, pro_binary, pro_pairwise, pro_scalar
from llm_validation.losses.parts import LossEntry
from llm_validation.losses.table import LOSSES
from llm_validation.losses.unpaired import bco, fdo, kldo, kto, kto_reference_point

__all__ = [
    "GENERATORS", "LOSSES", "LossEntry", "bco", "ddro", "dpo", "fdo", "ipo", "kldo", "kto",
    "kto_reference_point", "pro", "pro_binary", "pro_pairwise", "pro_scalar", "rdro",
]  # fmt: skip
