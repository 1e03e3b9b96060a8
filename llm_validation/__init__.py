"""The predictions checked on language models that are really trained, and the methods for models of your own.

`python -m llm_validation` runs the claims, `python -m llm_validation align | generate` works on any causal language
model of transformers. The names below are imported when they are first used: this page needs no torch.

Examples
--------
Speculative Rejection from a model with random weights, whose reward is the number of even tokens:

>>> from llm_validation import best_of_n, speculative_rejection
>>> from llm_validation.generation.decode import Sampling
>>> from llm_validation.model.model import build
>>> model = build("smoke", vocab_size=16, context=32, seed=0)
>>> reward = lambda batch: [float(sum(token % 2 == 0 for token in text)) for text in batch.responses]
>>> rows = dict(prompts=[(3, 5)], n=32, scorer=reward, sampling=Sampling(16, eos=()), seed=0)
>>> best, early = best_of_n(model, **rows), speculative_rejection(model, alpha=0.5, times=(4, 8), **rows)
>>> best.returned[0].reward >= early.returned[0].reward, early.spent.generated / best.spent.generated
(True, 0.5)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from theory.lazy import lazy

if TYPE_CHECKING:
    from llm_validation.catalogue.reference import fit_reference
    from llm_validation.conformance import check_loss
    from llm_validation.generation.decode import best_of_n, speculative_rejection
    from llm_validation.model.model import load
    from llm_validation.preferences.train import train_on_preferences as align
    from llm_validation.rewards.model import train_reward_model

__all__ = ["align", "best_of_n", "check_loss", "fit_reference", "load", "speculative_rejection", "train_reward_model"]

__getattr__, __dir__ = lazy(__name__, {
    "llm_validation.catalogue.reference": "fit_reference",
    "llm_validation.conformance": "check_loss",
    "llm_validation.generation.decode": "best_of_n, speculative_rejection",
    "llm_validation.model.model": "load",
    "llm_validation.preferences.train": "train_on_preferences as align",
    "llm_validation.rewards.model": "train_reward_model",
})  # fmt: skip
