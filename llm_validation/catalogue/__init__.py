"""A catalogue: prompts with a few responses each, whose law under a model is exact.

    texts          catalogues of stories and of items, in text and in tokens
    trie           the prefix tree of a prompt's responses, and the exact log-policy on it
    passes         forward and backward over the trees
    reference      a fitted reference, its measured law, and trainings that start from it
    measured       the catalogue of a model that others trained: its law as it is, nothing fitted
    head           the normaliser of next-token laws under an output head that is not trained
    trunk          training a part of a large model: the rest runs once
    train          an objective of the exact log-policy, minimised
    stacked_seeds  the same training of several seeds as one stack

The law of a prompt has one entry per response and a last one: the mass off the catalogue.

Examples
--------
>>> from llm_validation.catalogue.texts import story_catalogue
>>> from simulate.montecarlo import generator
>>> catalogue = story_catalogue(2, 3, generator(0, "example"))
>>> [len(responses) for responses in catalogue.responses]
[3, 3]
"""

__all__ = ()  # what is public stands on the page of llm_validation
