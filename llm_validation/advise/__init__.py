"""What your preferences and your model allow: counts, which losses have an optimum, where the reference stands.

    findings  sentences with their numbers and claims, from data alone
    report    log-probabilities of the reference; the findings as HTML and JSON

Examples
--------
>>> from llm_validation.advise.findings import imbalance
>>> imbalance(1, 100).value == 200 / 101
True
"""

__all__ = ()  # what is public stands on the page of llm_validation
