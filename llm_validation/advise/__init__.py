"""What your preferences and your model allow, and which method to use: sentences with their numbers and claims.

    findings    counts, lengths, label noise, thresholds: from data alone
    optima      which losses have an optimum on the data, the only one, with absolute levels
    whose       are users of one kind; the audit of responses that were compared often
    trunk       a model whose lower blocks run once per text
    pilot       every method trained for a few steps, and what it moved on held-out examples, until the clock stops it
    accuracy    how often held-out chosen are told from rejected; can two methods be told apart?
    divergence  D⁺‖D⁻ from losses on held-out examples
    confidence  lower bounds of it that hold with confidence, from however few
    recommend   a method, with reasons and a command to paste, or none
    selection   Best-of-N by a reward, beside the method recommended
    sections    what of a model goes into the report;  report  HTML and JSON

Examples
--------
>>> from llm_validation.advise.findings import scored_thresholds
>>> from llm_validation.preferences.data import Example, Preferences
>>> good, bad = Example((2,), (3, 0), 1), [Example((2,), (4 + k, 0), 2 + k) for k in range(100)]
>>> scored_thresholds(Preferences("planted", (good,), tuple(bad), paired=False))[0].value == 200 / 101
True
"""

__all__ = ()  # what is public stands on the page of llm_validation
