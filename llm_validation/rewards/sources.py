"""Rewards by name: the package's own reward model, a sequence classifier of transformers, or a function of texts.

FOLDER            of a reward model that `align --method rlhf` or `RewardModel.save` wrote
FOLDER or NAME    of a model with one output, AutoModelForSequenceClassification, with its own tokenizer: it reads
                  prompt and response as one text, or in its chat template where it has one
MODULE:FUNCTION   of two sequences of texts, prompts and responses, to as many numbers
utility, length   of the generated language, and characters
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from llm_validation.generation.scorers import Scorer, TextScorer
from llm_validation.model.checks import check_weights
from llm_validation.model.model import autocast, device
from llm_validation.rewards.comparisons import utility
from llm_validation.rewards.model import WEIGHTS, load_reward_model
from llm_validation.rewards.prefix_scorer import PrefixScorer
from theory.validate import Array

#: Named rewards of prompt + response.
TEXT_REWARDS: dict[str, Callable[[str], float]] = {"utility": utility, "length": lambda text: float(len(text))}
#: Texts that a classifier reads at a time.
TEXTS_AT_ONCE = 16


def scorer_of(reward: str, tokenizer: Any) -> Callable[[], Scorer]:
    """A fresh scorer for every run. ValueError, in one sentence, for a reward that cannot be had.

    tokenizer   of the model that writes, whose tokens become texts
    """
    if reward in TEXT_REWARDS:
        value = TEXT_REWARDS[reward]
        return lambda: TextScorer(tokenizer, lambda prompts, texts: [value(p + t) for p, t in zip(prompts, texts)])  # noqa: B905
    if (Path(reward) / WEIGHTS).is_file():
        model = load_reward_model(reward).to(device())
        return lambda: PrefixScorer(model)
    if ":" in reward and not Path(reward).exists():
        function = function_at(reward)
        return lambda: TextScorer(tokenizer, checked(function, reward))
    classifier = Classifier.load(reward)
    return lambda: TextScorer(tokenizer, classifier)


def function_at(place: str) -> Callable[..., Any]:
    """The function at module:name, the folder one stands in being searched first. ValueError for none there."""
    module, colon, name = place.partition(":")
    if not colon or not module or not name:
        raise ValueError(f"{place!r} must be MODULE:FUNCTION")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # whatever a module does when it is imported
        raise ValueError(f"module {module!r} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    if not callable(function):
        raise ValueError(f"module {module!r} has no function {name!r}")
    return function


def checked(function: Callable[..., Any], name: str) -> Callable[[Sequence[str], Sequence[str]], Array]:
    """The function with what it returns checked: ValueError where it fails, for a wrong length, no finite number."""

    def rewards(prompts: Sequence[str], responses: Sequence[str]) -> Array:
        try:
            found = function(list(prompts), list(responses))
        except Exception as error:  # whatever somebody else's function does
            raise ValueError(f"{name} failed on {len(prompts)} responses: {type(error).__name__}: {error}") from error
        try:
            values = np.asarray(found.detach().cpu() if hasattr(found, "detach") else found, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} returned no numbers for {len(prompts)} responses: {error}") from error
        if values.shape != (len(prompts),):
            raise ValueError(f"{name} returned shape {values.shape} for {len(prompts)} responses")
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ValueError(f"{name} returned {values[bad[0]]} for the response {responses[bad[0]][:60]!r}")
        return values

    return rewards


class Classifier:
    """Rewards of a sequence classifier with one output, read with its own tokenizer."""

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        self.model, self.tokenizer, self.name = model, tokenizer, name

    @classmethod
    def load(cls, name: str) -> Classifier:
        """From a folder or a name, in float32. ValueError where there is none, or one with several outputs."""
        try:
            tokenizer = AutoTokenizer.from_pretrained(name)
            model, report = AutoModelForSequenceClassification.from_pretrained(
                name, dtype=torch.float32, use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{name!r} is no reward: not one of {', '.join(TEXT_REWARDS)}, no MODULE:FUNCTION, and it holds no "
                f"reward model that can be read: {' '.join(str(error).split())}"
            ) from error
        check_weights(name, model, report)
        if model.config.num_labels != 1:
            raise ValueError(f"{name!r} has {model.config.num_labels} outputs: a reward model has one")
        if model.config.pad_token_id is None:
            if tokenizer.pad_token_id is None:
                tokenizer.pad_token = tokenizer.eos_token
            model.config.pad_token_id = tokenizer.pad_token_id
        return cls(model.eval().to(device()), tokenizer, name)

    @torch.inference_mode()
    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Array:
        """Logits (B,), texts of like length together."""
        texts = [self.text(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
        order = np.argsort([len(text) for text in texts], kind="stable")
        rewards = np.empty(len(texts))
        most = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        for rows in np.split(order, range(TEXTS_AT_ONCE, len(order), TEXTS_AT_ONCE)):
            batch = self.tokenizer([texts[i] for i in rows], padding=True, return_tensors="pt", padding_side="right",
                                   add_special_tokens=not self.tokenizer.chat_template)  # fmt: skip
            if most is not None and batch["input_ids"].shape[1] > most:
                raise ValueError(f"{self.name}: a text of {batch['input_ids'].shape[1]} tokens, its context is {most}")
            with autocast(device()):
                logits = self.model(**batch.to(device())).logits
            rewards[rows] = logits[:, 0].double().cpu().numpy()
        return rewards

    def text(self, prompt: str, response: str) -> str:
        """One text, in the chat template where the tokenizer has one."""
        if not self.tokenizer.chat_template:
            return prompt + response
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        whole: str = self.tokenizer.apply_chat_template(turns, tokenize=False)
        return whole
