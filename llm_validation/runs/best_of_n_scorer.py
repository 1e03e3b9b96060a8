"""The reward model that Best-of-N selects by: trained once for a base model, on comparisons of stories, and kept.

Like the base model it is what laws are measured of, not a part of what is drawn: the seeds of a run share it. It is
trained before them, and what a run reads is the kept one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from llm_validation.model.folders import replacing
from llm_validation.model.model import Loaded, load
from llm_validation.profiles import BestOfN
from llm_validation.rewards.comparisons import BT_BETA, compare, streams, utility
from llm_validation.rewards.model import RewardModel, load_reward_model, train_reward_model
from llm_validation.runs.run import Context, Run
from simulate.montecarlo import Estimate, generator
from simulate.rows.measurement import Measurement, measurement

#: In its folder: what it was made from, and what it is worth.
RECORD = "reward.json"


def row_length(model: Any, profile: BestOfN) -> int:
    """T: the profile's, or what the model's context holds after a prompt of one token."""
    room = getattr(model.config, "max_position_embeddings", profile.length + 1) - 1
    return min(profile.length, room)


def fit_scorer(loaded: Loaded, profile: BestOfN, seed: int) -> tuple[RewardModel, Estimate]:
    """A reward model, and the correlation of its scores with the utility on texts that it was not trained on."""
    tokenizer: Any = loaded.tokenizer
    rng = generator(seed, "comparisons")
    texts = streams(tokenizer, profile.streams, row_length(loaded.model, profile), rng)
    utilities = np.array([utility(tokenizer.decode(text)) for text in texts])
    held_out = max(3, profile.streams // 5)
    pairs = compare(texts[held_out:], utilities[held_out:], profile.comparisons, BT_BETA, 1, rng)
    reward = train_reward_model(loaded.model, pairs, profile.reward, seed).model
    correlation = float(np.corrcoef(reward.last_scores(texts[:held_out]), utilities[:held_out])[0, 1])
    return reward, Estimate(correlation, (1 - correlation**2) / math.sqrt(held_out), held_out)


def keep_scorer(context: Context, seed: int) -> Iterable[Measurement]:
    """Train and keep it, if it is not there; returns what it is worth (no check judges it)."""
    if kept(context):  # a run that was killed before it noted the row
        fit = Estimate(**_record(context)["worth"])
    else:
        loaded = load(context.base).to(context.device)
        reward, fit = fit_scorer(loaded, context.profile.best_of_n, seed)
        worth = {name: getattr(fit, name) for name in ("value", "stderr", "n")}
        with replacing(_folder(context)) as partial_folder:
            reward.write(partial_folder)
            (partial_folder / RECORD).write_text(
                json.dumps({"made from": _made_from(context), "worth": worth}) + "\n", encoding="utf-8"
            )
    return [measurement("B10", "reward_model", {}, fit.value, fit.stderr, fit.n, "correlation with the utility")]


def kept(context: Context) -> bool:
    """Is there one that this context would make again as it is?"""
    return _record(context).get("made from") == _made_from(context)


def _record(context: Context) -> dict[str, Any]:
    """What is noted beside the kept one; nothing where there is none."""
    record = _folder(context) / RECORD
    return dict(json.loads(record.read_text(encoding="utf-8"))) if record.is_file() else {}


def open_scorer(context: Context) -> RewardModel:
    """The kept one, on the context's device."""
    return load_reward_model(_folder(context)).to(context.device)


def _folder(context: Context) -> Path:
    return context.folder / "checkpoints" / "scorer"


def _made_from(context: Context) -> dict[str, Any]:
    """What it depends on besides its seed."""
    own = asdict(context.profile.best_of_n)
    how = {name: own[name] for name in ("length", "streams", "comparisons", "reward")}
    return {"base": str(context.base), "content": context.content, "how": how, "code": context.scorer}


FIT = Run("scorer", keep_scorer, catalogue=None, also=("B10.reward_model",), kept=kept)
