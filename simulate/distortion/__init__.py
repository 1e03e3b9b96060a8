"""Distortion by Monte Carlo and adversarial search (claims D1 – D16); real people (D17) are in `simulate.people`.

    win_rates  rules and methods on win rates: bounds searched, instances played, balls and budgets   D1 – D13
    clipped    RLHF on clipped rewards                                                            D15
    rankings   rules on Plackett–Luce rankings, on the families that show how badly they grow         D7
    samples    how fast rules on n users approach their population limits                             D14
    methods    every method on finite samples of the literature's instances, beside the claims        D14
    audit      the audit against populations whose distortion is known                                D16

Examples
--------
>>> from simulate.distortion.win_rates import lottery_attained
>>> from simulate.montecarlo import generator
>>> from simulate.profiles import PROFILES
>>> estimate = lottery_attained(bt_beta=1.0, rng=generator(0), profile=PROFILES["smoke"])
>>> round(estimate.value, 3), round(estimate.stderr, 3)
(1.082, 0.0)
"""

__all__ = ()  # experiments are private: simulate.experiments joins them
