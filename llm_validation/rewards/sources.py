"""Rewards by name: the package's own reward model, a sequence classifier of transformers, or a function of texts.

FOLDER            of a reward model that `align --method rlhf` or `RewardModel.save` wrote
FOLDER or NAME    of a model with one output, AutoModelForSequenceClassification, with its own tokenizer: it reads
                  prompt and response in its own chat template where it has one, else as one text (a line break between
                  what was asked in the writer's chat template and its response)
MODULE:FUNCTION   of two sequences, prompts and responses, to as many numbers
utility, length   of the generated language, and characters of a response

Prompts are what was asked, before any chat template: a text, or messages where the file has messages. Responses are
what is returned: without an end token, and without what a stop string cuts off.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from llm_validation.generation.scorers import Batch, Scorer
from llm_validation.model.checks import DEVICE, FAILS, UNREADABLE, check_weights, in_a_line, refuse_adapter
from llm_validation.model.content import digest_on_disk
from llm_validation.model.fetch import only_here, sha256_of
from llm_validation.model.model import autocast, device
from llm_validation.model.text_boundaries import Message, Tokens, rendered
from llm_validation.preferences.data import Example
from llm_validation.preferences.files import records_of
from llm_validation.rewards.comparisons import utility
from llm_validation.rewards.model import WEIGHTS, RewardModel, load_reward_model
from llm_validation.rewards.prefix_scorer import PrefixScorer
from theory.validate import Array

#: What a model was asked.
Prompt = str | Sequence[Message]
#: Named rewards of a prompt and a response.
TEXT_REWARDS: dict[str, Callable[[Prompt, str], float]] = {
    "utility": lambda prompt, response: utility(_flat(prompt) + response),
    "length": lambda _, response: float(len(response)),
}
#: Texts that a classifier reads at a time.
TEXTS_AT_ONCE = 16


@dataclass(frozen=True)
class Texts:
    """Texts for rewards that do not read tokens.

    said    what tokens of the model that writes say
    asked   prompts in tokens ↦ what was asked, where a chat template wrote them
    tokenizer  of the model that writes; None: not known
    """

    said: Callable[[Sequence[int]], str]
    asked: Mapping[Tokens, Prompt]
    tokenizer: Any = None

    @classmethod
    def of(cls, tokenizer: Any, path: Path, examples: Sequence[Example]) -> Texts:
        """Of the prompts of a file of preferences, as its examples were read."""
        turns = {line: found for line, record in records_of(path) if (found := _messages(record)) is not None}
        asked = {example.prompt: turns[example.line] for example in examples if example.line in turns}
        return cls(lambda tokens: tokenizer.decode(list(tokens), skip_special_tokens=True), asked, tokenizer)

    def scorer(self, function: Callable[[Sequence[Any], Sequence[str]], ArrayLike]) -> Scorer:
        """Of a function of prompts and responses."""

        def scores(batch: Batch) -> ArrayLike:
            prompts = [self.asked[p] if p in self.asked else self.said(p) for p in batch.prompts]
            return function(prompts, [self.said(response) for response in batch.responses])

        return scores


def _messages(record: Mapping[str, Any]) -> Sequence[Message] | None:
    """The messages that a line of preferences asks; None for a text."""
    prompt = record.get("prompt")
    if prompt is not None and not isinstance(prompt, str):
        return list(prompt)
    several = [record[name][0] for name in ("completions", "ranking") if record.get(name)]
    sides = [side for side in (record.get("chosen"), record.get("completion"), *several) if side is not None]
    return None if isinstance(sides[0], str) else list(sides[0])[:-1]


def _flat(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(turn["content"] for turn in prompt)


def scorer_of(reward: str, texts: Texts) -> Callable[[], Scorer]:
    """A fresh scorer for every run. ValueError, in one sentence, for a reward that cannot be had."""
    if reward in TEXT_REWARDS:
        value = TEXT_REWARDS[reward]
        return lambda: texts.scorer(lambda prompts, said: [value(p, t) for p, t in zip(prompts, said, strict=True)])
    if (Path(reward) / WEIGHTS).is_file():
        model = load_reward_model(reward).to(device())
        _check_tokenizer(reward, model, texts.tokenizer)
        return lambda: PrefixScorer(model)
    if ":" in reward and not Path(reward).exists():
        function = function_at(reward)
        return lambda: texts.scorer(checked(function, reward))
    classifier = Classifier.load(reward)
    return lambda: texts.scorer(classifier)


def reward_content(reward: str) -> str:
    """A digest of what a reward is: of a folder its files, of a function its module's; "" for other names."""
    module, colon, _ = reward.partition(":")
    if reward in TEXT_REWARDS or not colon or Path(reward).exists():
        return "" if reward in TEXT_REWARDS else digest_on_disk(reward)
    function_at(reward)
    source = getattr(sys.modules[module], "__file__", None)
    return sha256_of(Path(source))[:12] if source else ""


def _check_tokenizer(reward: str, model: RewardModel, tokenizer: Any) -> None:
    """ValueError where a model writes other tokens than the reward model reads; where its own are not known, more."""
    if tokenizer is None:
        return
    there, size = Path(reward) / "tokenizer.json", model.backbone.get_input_embeddings().num_embeddings
    vocabulary = tokenizer.get_vocab()
    if there.is_file():
        if AutoTokenizer.from_pretrained(reward).get_vocab() != vocabulary:
            raise ValueError(f"{reward!r} reads the tokens of another tokenizer than the model that writes has")
    elif max(vocabulary.values()) >= size:
        raise ValueError(f"{reward!r} reads {size} tokens, and the model that writes has {len(vocabulary)}")


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


def checked(function: Callable[..., Any], name: str) -> Callable[[Sequence[Prompt], Sequence[str]], Array]:
    """The function with what it returns checked: ValueError where it fails, for a wrong length, no finite number."""

    def rewards(prompts: Sequence[Prompt], responses: Sequence[str]) -> Array:
        try:
            found = function(list(prompts), list(responses))
        except Exception as error:  # whatever somebody else's function does
            raise ValueError(f"{name} failed on {len(prompts)} responses: {type(error).__name__}: {error}") from error
        try:
            values = np.asarray(found.detach().cpu() if hasattr(found, "detach") else found, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name} returned no numbers for {len(prompts)} responses: {error}") from error
        if values.shape != (len(prompts),):
            raise ValueError(f"{name} returned shape {values.shape} for {len(prompts)} responses")
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ValueError(f"{name} returned {values[bad[0]]} for the response {responses[bad[0]][:60]!r}")
        return values

    return rewards


class Classifier:
    """Rewards of a sequence classifier with one output, read with its own tokenizer.

    pads   whether the model knows its padding token: it reads at the last token that is no such one
    """

    def __init__(self, model: Any, tokenizer: Any, name: str, *, pads: bool = True) -> None:
        self.model, self.tokenizer, self.name, self.pads = model, tokenizer, name, pads

    @classmethod
    def load(cls, name: str) -> Classifier:
        """From a folder or a name, in float32. ValueError where there is none, or one with several outputs."""
        refuse_adapter(name)
        alone = only_here(name)
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=alone)
            model, report = AutoModelForSequenceClassification.from_pretrained(
                name, local_files_only=alone, adapter_kwargs={"local_files_only": alone}, dtype=torch.float32,
                use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True,
            )  # fmt: skip
        except UNREADABLE as error:
            raise ValueError(
                f"{name!r} is no reward: not one of {', '.join(TEXT_REWARDS)}, no MODULE:FUNCTION, and it holds no "
                f"reward model that can be read: {' '.join(str(error).split())}"
            ) from error
        check_weights(name, model, report)
        if model.config.num_labels != 1:
            raise ValueError(f"{name!r} has {model.config.num_labels} outputs: a reward model has one")
        known, most = model.config.pad_token_id, model.get_input_embeddings().num_embeddings
        return cls(model.eval().to(device()), tokenizer, name, pads=known is not None and 0 <= known < most)

    @torch.inference_mode()
    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> Array:
        """Logits (B,), texts of like length together."""
        texts = [self.text(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
        order = np.argsort([len(text) for text in texts], kind="stable")
        rewards = np.empty(len(texts))
        most = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        for rows in np.split(order, range(TEXTS_AT_ONCE, len(order), TEXTS_AT_ONCE)):
            batch = self._read([texts[i] for i in rows])
            if most is not None and batch["input_ids"].shape[1] > most:
                raise ValueError(f"{self.name}: a text of {batch['input_ids'].shape[1]} tokens, its context is {most}")
            rewards[rows] = self._logits(batch)[:, 0].double().cpu().numpy()
        return rewards

    def _logits(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """ValueError for texts that the model fails on: some have fewer places than they say (RoBERTa's first is 2)."""
        try:
            with autocast(device()):
                logits: torch.Tensor = self.model(**batch).logits
        except DEVICE:
            raise
        except FAILS as error:
            size = batch["input_ids"].shape[1]
            raise ValueError(f"{self.name} fails on a text of {size} tokens: {in_a_line(error)}") from error
        return logits

    def _read(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Texts in tokens, padded on the right with what the model takes for padding, whatever its tokenizer has.

        A model that knows none reads at the end of a text: the padding is a token that ends none of these.
        """
        read = self.tokenizer(texts, add_special_tokens=not self.tokenizer.chat_template)["input_ids"]
        if not self.pads:
            last = {ids[-1] for ids in read if ids}
            self.model.config.pad_token_id = next(token for token in range(len(texts) + 1) if token not in last)
        rows = [torch.tensor(ids, dtype=torch.long, device=device()) for ids in read]
        tokens = pad_sequence(rows, batch_first=True, padding_value=self.model.config.pad_token_id)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        return {"input_ids": tokens, "attention_mask": mask}

    def text(self, prompt: Prompt, response: str) -> str:
        """One text, in the chat template where the tokenizer has one."""
        if not self.tokenizer.chat_template:
            return f"{prompt}{response}" if isinstance(prompt, str) else f"{_flat(prompt)}\n{response}"
        asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        turns = [*asked, {"role": "assistant", "content": response}]
        try:
            return rendered(self.tokenizer, turns)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error
