"""What `align` does for the methods that are more than a loss: RLHF's reward model and policy, the Aligner's texts."""

from __future__ import annotations

import argparse
import glob
import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_validation.aligner.texts import Template
from llm_validation.generation.scorers import Scorer
from llm_validation.model.content import digest_on_disk
from llm_validation.model.folders import replacing
from llm_validation.model.model import Loaded, device
from llm_validation.preferences.data import Preferences
from llm_validation.preferences.policy_gradient import Earned, Sampled, fit_reward
from llm_validation.preferences.resume import digest
from llm_validation.preferences.shown import accuracy_of, shown
from llm_validation.preferences.trace import Mean
from llm_validation.rewards.model import RewardTraining, load_reward_model
from llm_validation.rewards.prefix_scorer import PrefixScorer
from llm_validation.rewards.sources import Texts, scorer_of
from simulate.numbers import a_name, count, positive, seed

#: method → its own options.
OWN = {"rlhf": ("reward", "reward_rate", "reward_epochs", "samples", "listed"), "aligner": ("warm_up", "template")}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of these methods."""
    rlhf = parser.add_argument_group("rlhf")
    rlhf.add_argument("--reward", type=a_name, help="a reward that is there (folder, name, MODULE:FUNCTION) in place "
                      "of one trained on the pairs")  # fmt: skip
    rlhf.add_argument(
        "--reward-rate", type=positive, metavar="RATE", help="peak learning rate of the reward model; 5e-5"
    )
    rlhf.add_argument("--reward-epochs", type=count, metavar="N", help="its passes over the pairs; 2")
    rlhf.add_argument("--samples", type=count, metavar="K", help="answers to a prompt in a step; 4")
    rlhf.add_argument("--listed", action="store_true", default=None, help="on the responses that the data list for a "
                      "prompt, with the exact gradient; examples with scores need no reward model")  # fmt: skip
    aligner = parser.add_argument_group("aligner")
    aligner.add_argument(
        "--warm-up", type=seed, metavar="STEPS", help="steps on answers copied, before corrections; 10"
    )
    aligner.add_argument("--template", metavar="TEXT", help="what the corrector reads, with {prompt} and {answer}")


def check_own(options: argparse.Namespace) -> None:
    """ValueError for an option of another method."""
    for method, names in OWN.items():
        for name in names:
            value, flag = getattr(options, name), f"--{name.replace('_', '-')}"
            if value is not None and options.method != method:
                raise ValueError(f"{flag} is of --method {method}, not of {options.method}")
    if options.method == "rlhf" and options.reward and (options.reward_rate or options.reward_epochs):
        raise ValueError("--reward is a reward that is there: --reward-rate and --reward-epochs train one")
    if options.method in OWN and (options.shift or options.class_weights):
        raise ValueError(f"{options.method} has neither class weights nor a shift")
    if options.listed and options.samples:
        raise ValueError("--samples is of answers that are written, and with --listed none is")


def check_reward(options: argparse.Namespace, data: Preferences) -> None:
    """ValueError for options of a reward model that these data need not have, or where they can train none."""
    if options.method == "rlhf" and not (options.reward or options.listed or data.paired):
        raise ValueError(f"{data.source} has labels or scores, and a reward model learns from pairs: --listed takes "
                         "them for rewards, --reward one that is there")  # fmt: skip
    if options.listed and not data.paired:
        for name in ("reward_rate", "reward_epochs"):
            if getattr(options, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} trains a reward model of pairs, and with --listed the "
                                 f"scores of {data.source} are the rewards")  # fmt: skip


def own_settings(options: argparse.Namespace) -> dict[str, object]:
    """The options of the method that its rows depend on."""
    return {name: getattr(options, name) for name in OWN.get(options.method, ())}


@dataclass(frozen=True, eq=False)
class Reward:
    """What RLHF maximises: a scorer, the name of a given one, or the accuracy on what was held out and the folder of
    one trained here."""

    scorer: Scorer | None
    name: str | None = None
    accuracy: Mean | None = None
    folder: Path | None = None
    listed: bool = False

    def said(self, earned: Earned, held: Preferences, kind: str) -> list[str]:
        """Sentences for the report; `kind` of pairs and prompts it is of: held-out, or training."""
        source = f"the reward {self.name}" if self.accuracy is None else (
            f"the reward model of the pairs, right on {accuracy_of(self.accuracy, held)} of {self.accuracy.n} {kind} "
            "pairs,")  # fmt: skip
        before, after = earned.before, earned.after
        what = "the listed responses of" if self.listed else "the model's answers to"
        return [
            f"{source} gives {what} {before.n} {kind} prompts {shown(before)} before and {shown(after)} after"
            + (", by what the model gives each" * self.listed)
        ]

    def move(self, folder: Path) -> None:
        """A trained reward model into the folder of the run."""
        if self.folder:
            shutil.copytree(self.folder, folder / "reward")


def forget_rewards(out: Path) -> None:
    """Remove the reward models that runs into a folder kept for after a kill, with whatever options they were made."""
    name = glob.escape(f".{out.name}.reward-") + 12 * "[0-9a-f]"
    for beside in (name, f".{name}.*.partial"):
        for folder in out.absolute().parent.glob(beside):
            shutil.rmtree(folder, ignore_errors=True)


def reward_for(options: argparse.Namespace, loaded: Loaded, train: Preferences, held: Preferences) -> Reward:
    """The reward of --reward, or a model trained on the pairs; one that a killed run has trained is read again."""
    own = bool(options.listed)
    if options.reward:
        texts = Texts.of(loaded.tokenizer, options.data, train.examples + held.examples)
        return Reward(scorer_of(options.reward, texts)(), name=options.reward, listed=own)
    if own and not train.paired:
        return Reward(None, name="of the scores in the file", listed=True)
    batches = -(-len(train.chosen) // options.batch)
    how = RewardTraining(
        steps=batches * (options.reward_epochs or 2),
        batch=-(-len(train.chosen) // batches),  # as even as may be: a step draws whole batches
        rate=options.reward_rate or 5e-5,
    )
    said = json.dumps(
        [str(options.model), digest_on_disk(options.model), digest(train), digest(held), options.seed, repr(how)]
    )
    out = options.out.absolute()
    folder = out.with_name(f".{out.name}.reward-{hashlib.sha256(said.encode()).hexdigest()[:12]}")
    record = folder / "accuracy.json"
    if not record.is_file():
        print(f"align: a reward model of {len(train.chosen)} pairs, {how.steps} steps", file=sys.stderr)
        fitted, accuracy = fit_reward(loaded.to(device()).model, train, held, how, options.seed)
        with replacing(folder) as partial:
            fitted.write(partial)
            loaded.tokenizer.save_pretrained(partial)  # it reads tokens, and says whose
            (partial / record.name).write_text(json.dumps(vars(accuracy)) + "\n", encoding="utf-8")
    accuracy = Mean(**json.loads(record.read_text(encoding="utf-8")))
    return Reward(PrefixScorer(load_reward_model(folder).to(device())), accuracy=accuracy, folder=folder,
                  listed=own)  # fmt: skip


def sampled(options: argparse.Namespace, ends: tuple[int, ...], loss: dict[str, Any]) -> Sampled:
    """How RLHF's answers are sampled and weighed. ValueError for an option it does not have."""
    if unknown := sorted(loss.keys() - {"kl_beta"}):
        raise ValueError(f"rlhf has no option {unknown[0]!r}; it has kl_beta")
    return Sampled(ends, loss.get("kl_beta", 0.1), options.samples or 4, options.answer_tokens, bool(options.listed))


def corrector_said(template: Template) -> str:
    """A sentence for the report."""
    return (
        "chosen are corrections and rejected the answers copied, after the corrector's text; "
        f"`correct` reads {template.text!r}" + (" in the chat template" if template.chat else "")
    )


def context_of(options: argparse.Namespace, model: Any) -> int:
    """--context, checked against what the model says; ValueError if neither says anything."""
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    context: int | None = limit if options.context is None else options.context
    if context is None:
        raise ValueError(f"{options.model} does not say how long its context is: give --context")
    if limit is not None and context > limit:
        raise ValueError(f"--context {context} is more than the {limit} positions of {options.model}")
    return context
