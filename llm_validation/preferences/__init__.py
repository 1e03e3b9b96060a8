"""Your own preferences: files of pairs or labelled examples, and the losses trained on them.

    files      what people's files look like: texts, messages, transcripts, labels
    data       examples in tokens, batches, mismatched pairs
    sequences  log-probabilities of completions, prompts shared within a batch
    train      `align`: one loss on one file, with checkpoints

Examples
--------
>>> from llm_validation.preferences.files import EXAMPLES, PAIRS
>>> PAIRS, EXAMPLES
(('prompt', 'chosen', 'rejected'), ('prompt', 'completion', 'label'))
"""

__all__ = ()  # what is public stands on the page of llm_validation
