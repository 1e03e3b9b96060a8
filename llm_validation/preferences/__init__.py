"""Your own preferences: files of pairs or labelled examples, and the losses trained on them.

    data       reading, encoding, batches, mismatched pairs
    sequences  log-probabilities of completions, prompts shared within a batch
    train      `align`: one loss on one file, with checkpoints

Examples
--------
>>> from llm_validation.preferences.data import EXAMPLE_FIELDS, PAIR_FIELDS
>>> list(PAIR_FIELDS), list(EXAMPLE_FIELDS)
(['prompt', 'chosen', 'rejected'], ['prompt', 'completion', 'label'])
"""

__all__ = ()  # what is public stands on the page of llm_validation
