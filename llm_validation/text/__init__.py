"""Text: a generated language of known entropy, and corpora of one's own.

    language  short stories from a probabilistic automaton: exact log-probabilities, entropy, samples
    corpus    files (plain, .gz, .jsonl), a byte-pair tokenizer trained on them, packing into blocks

Examples
--------
>>> from llm_validation.text.language import STORIES
>>> from simulate.montecarlo import generator
>>> round(STORIES.entropy, 3)  # nats per story
17.053
>>> (story,) = STORIES.sample(generator(0, "example"), 1)
>>> STORIES.log_probability(story) < 0
True
"""

__all__ = ()  # what is public stands on the page of llm_validation
