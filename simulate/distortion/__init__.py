"""Distortion by Monte Carlo and adversarial search (claims D1 – D26); of real people (D17), see `simulate.people`.

    win_rates     rules and methods on win rates: the literature's instances, sampled      D1 – D6, D8 – D13
    worst_cases   worst cases of rules, and of methods in KL balls, searched for       D3, D4, D6, D9, D10, D18, D22
    rankings      rules on Plackett–Luce rankings, on the families that show their growth  D7
    kl_ball       random populations with few alternatives, in a KL ball                   D8 – D10
    balls         instances that cost NLHF, RLHF and IPO much in small and tight balls     D9, D18, D19
    penalty       DPO and IPO with a KL penalty                                            D5, D8, D11, D23
    samples       how fast rules on n users approach their population limits               D14
    methods       every method on finite samples of the literature's instances, beside the claims
    clipped       RLHF on clipped rewards                                                  D15
    audit         the audit against populations whose distortion is known                  D16
    few           few alternatives: Borda's share of the minimax, the audit of a pair      D20, D21
    regimes       how often majorities cycle; what a small budget buys                     D24, D25
    proportional  population-proportional policies                                         D26

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
