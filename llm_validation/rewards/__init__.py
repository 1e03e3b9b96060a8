"""Reward models: trained on comparisons of texts of known utility.

    comparisons    texts, their utility, and Bradley–Terry comparisons of them, drawn or from a file
    model          a language model with a scalar head, its training, saving and loading
    prefix_scorer  rewards of growing prefixes from a cache

Examples
--------
>>> from llm_validation.rewards.comparisons import utility
>>> 0.0 <= utility("Once upon a time there was a happy fox.") <= 1.0
True
"""

__all__ = ()  # what is public stands on the page of llm_validation
