"""PRO and DPO trained on tables (claims P1 – P16).

    optima     softmax policies trained to the optimum; feedback sampled and counted        P1 – P4, P9 – P11, P13
    existence  thresholds by subsets, linear programs and bisection; what DPO leaves open   P5, P7, P12
    labels     the hyper response, minibatches, absolute likelihoods                        P6, P8, P12
    runs       the same losses trained in many ways                                         P14
    held_out   prompts that nobody trained on                                               P15
    displacement  random pairs: two accounts of where the chosen response goes              P16
    losses     the losses in rewards, with gradients; descent on them
    tables     random tables, and what is counted from them by hand

Examples
--------
>>> from simulate.proximal.optima import pair_gap
>>> from simulate.montecarlo import generator
>>> from simulate.profiles import PROFILES
>>> estimate = pair_gap(response=0, alpha=1.2, kl_beta=0.1, rng=generator(0), profile=PROFILES["smoke"])
>>> round(estimate.value, 3), round(estimate.stderr, 3)
(2.776, 0.0)
"""

__all__ = ()  # experiments are private: simulate.experiments joins them
