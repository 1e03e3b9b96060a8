"""Reward models: trained on comparisons of texts of known utility.

    comparisons    texts, their utility, and Bradley–Terry comparisons of them, drawn or from a file
    model          a language model with a scalar head, its training, saving and loading
    prefix_scorer  rewards of growing prefixes from a cache
    sources        rewards by name: ours, a sequence classifier, a function of texts
    utilities      known utilities of a text, which a reward is to follow
    pool           a model's own responses to a prompt, with its states while it wrote them

Examples
--------
>>> from llm_validation.rewards.comparisons import utility
>>> 0.0 <= utility("Once upon a time there was a happy fox.") <= 1.0
True
"""

__all__ = ()  # what is public stands on the page of llm_validation
