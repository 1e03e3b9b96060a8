"""DDRO, RDRO and their relatives trained on tables (claims R1 – R11).

    ratios     trained ratios and policies, pooled batches, limits of methods   R1 – R3, R5, R8, R9
    flow       gradient flows of log-ratios, followed step by step              R4
    samples    estimated ratios and policies from finite samples                R6, R7
    reference  a reference that is estimated from draws                         R10
    welfare    consistent methods against the users' utility                    R11
    losses     unpaired losses per example, as trainers write them

Examples
--------
>>> from simulate.density_ratio.ratios import least_loss
>>> from simulate.montecarlo import generator
>>> from simulate.profiles import PROFILES
>>> estimate = least_loss(method="ddro", member="logistic", table="three", rng=generator(0), profile=PROFILES["smoke"])
>>> round(estimate.value, 3), round(estimate.stderr, 3)
(1.253, 0.0)
"""

__all__ = ()  # experiments are private: simulate.experiments joins them
