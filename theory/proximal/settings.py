"""Settings that the claims on PRO share with what measures and draws them."""

from __future__ import annotations

#: The labelled responses of the examples.
LABELLED = (0, 1, 2, 3)
#: Steps at which likelihoods along training are compared, about evenly on a log scale.
STEPS = (1, 10, 30, 100, 300, 1000, 3000)
#: The triples (alpha, kl_beta) that the paper uses side by side: equal alpha·kl_beta, nearly.
TRIPLES = ((2.5, 3e-3), (7.5, 1e-3), (22.5, 3e-4))
#: (alpha, kl_beta) at which PRO-B's printed form and its shortcut r(H) = 0 are compared with the exact one.
SHORTCUT = (2.5, 0.1)
#: The scores of P11's instances; the first n of them.
SCALAR_SCORES = (0.5, -0.3, 0.1, -0.45)
