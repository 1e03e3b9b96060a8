"""Best-of-N and Speculative Rejection, row by row (claims B1 – B13).

    laws       Best-of-N sampled; the paper's metrics                                       B1 – B3, B8
    rejection  Speculative Rejection: rows sampled, ranked and dropped                      B4 – B6
    decoder    both algorithms on one engine, event by event, with what is cached counted
    memory     the decoder against its cost formulas and a token-by-token decoder           B6, B7, B9
    proxy      rejections by the reward's tail; Best-of-N by a proxy of the reward          B11, B12
    pessimism  the sampler of a proxy less a χ² penalty                                     B13

Examples
--------
>>> from simulate.best_of_n.laws import win_rate
>>> from simulate.montecarlo import generator
>>> from simulate.profiles import PROFILES
>>> estimate = win_rate(table="distinct", n=2, ties=0.5, rng=generator(0), profile=PROFILES["smoke"])
>>> round(estimate.value, 3), round(estimate.stderr, 3)
(0.656, 0.005)
"""

__all__ = ()  # experiments are private: simulate.experiments joins them
