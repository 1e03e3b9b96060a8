"""Losses as divergence estimators, searched, trained and sampled (claims V1 – V14).

    losses     losses minimised without knowing where: outcome by outcome, or by training   V1 – V6
    policies   policies trained by divergence losses; several prompts                       V7, V8
    samples    finite samples and minibatches                                               V9
    data       kinds of data, separation of representations, the public normaliser          V10 – V12
    kl_estimators  k1, k2, k3 as a reward and as a loss                                 V13
    pairing    what pairing costs an estimate                                           V14

Examples
--------
>>> from simulate.divergences.losses import least_loss
>>> from simulate.montecarlo import generator
>>> from simulate.profiles import PROFILES
>>> estimate = least_loss(name="kldo", n_outcomes=2, separation=0.5, rng=generator(0), profile=PROFILES["smoke"])
>>> round(estimate.value, 3), round(estimate.stderr, 3)
(-0.087, 0.0)
"""

__all__ = ()  # experiments are private: simulate.experiments joins them
