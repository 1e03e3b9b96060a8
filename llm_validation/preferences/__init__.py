"""Your own preferences: files of pairs, rankings, labels or scores, and the losses trained on them.

    files      what people's files look like: texts, messages, transcripts, labels, scores, rankings
    data       examples in tokens, batches, mismatched pairs
    graphs     who was compared with whom, prompt by prompt; the laws of chosen and rejected
    sequences  log-probabilities of completions, prompts shared within a batch
    objectives, listed   what is minimised: a loss, PRO on scores, NLHF on the win rates of listed responses
    train      `align`: one loss on one file, with checkpoints;  resume  one that was killed goes on to the same rows
    policy_gradient      RLHF: a reward model of the pairs, then the policy
    trace      what training moves on held-out prompts;  report  the same in sentences;  shown  how numbers are printed

Examples
--------
>>> from llm_validation.preferences.files import EXAMPLES, PAIRS
>>> PAIRS, EXAMPLES
(('prompt', 'chosen', 'rejected'), ('prompt', 'completion', 'label'))
"""

__all__ = ()  # what is public stands on the page of llm_validation
