"""The correction channel, sampled and trained (claims A1 – A7).

    channels   floors, bounds, gains, rounds and copying: correctors are tables trained on pairs   A1 – A5
    bootstrap  upstream models trained on corrections                                              A6
    users      corrections by sampled users, by their own rankings                                 A7
    data       correction data as counts: sampling, training and means

Examples
--------
>>> from simulate.correction.channels import measured_gain
>>> from simulate.montecarlo import generator
>>> from simulate.profiles import PROFILES
>>> estimate = measured_gain(upstream="raw", rng=generator(0), profile=PROFILES["smoke"])
>>> round(estimate.value, 3), round(estimate.stderr, 3)
(0.44, 0.0)
"""

__all__ = ()  # experiments are private: simulate.experiments joins them
