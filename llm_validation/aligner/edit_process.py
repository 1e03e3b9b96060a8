"""Q-A-C data of known entropy: answers from a template, corrected word by word.

A prompt is the beginning of a story, an answer ends its sentence with an adjective and an object, four words each:
A = 16 answers, which are listed. Upstream slots are independent, and so are edits: the word w of a slot is replaced
with probability e(w) by a draw from τ, the better the word the rarer:

    K(c|o) = Π_slots [(1 − e(o_s))·1{c_s = o_s} + e(o_s)·τ(c_s)].

So H(C|X,O), H(C|X) and I(C;O|X) are known exactly (`theory.correction.composition.floors`), for any upstream law. In
tokens a corrector reads  end-of-text, prompt, answer, `MARK`  and writes the correction and end-of-text; an upstream
model, or one trained on corrections alone, writes its answer and end-of-text after  end-of-text, prompt. The mark is no
end-of-text token: a model pretrained on packed documents has learnt to forget everything before that one.

Shapes: P prompts, A answers, S = 2 slots of m = 4 words.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from llm_validation.text.language import ADJECTIVES, CLASSES, opening
from theory.correction.examples import EditProcess
from theory.validate import Array

#: What comes between an answer and its correction.
MARK = " >"
#: The heroes of the prompts, and their pronouns.
HEROES = (("Mia", "fox", "forest", "She"), ("Tom", "cat", "castle", "He"))
PROMPT_LAW = np.array([0.6, 0.4])
#: Words of the slots from the worst (value 0) to the best (value 1).
SLOTS = (ADJECTIVES[:4], CLASSES["toy"])
VALUES = np.array([0.0, 1 / 3, 2 / 3, 1.0])
#: e(w): how often a word is replaced; τ: by what.
EDIT_RATES = np.array([0.7, 0.5, 0.3, 0.1])
REPLACEMENTS = np.array([0.1, 0.2, 0.3, 0.4])
#: Upstream laws of a slot's words, by name: the training law for each prompt, and one from bad habits.
UPSTREAM = {
    "training": np.array([[0.4, 0.3, 0.2, 0.1], [0.2, 0.4, 0.1, 0.3]]),
    "weak": np.array([[0.6, 0.2, 0.1, 0.1], [0.5, 0.3, 0.15, 0.05]]),
}


def prompt_text(name: str, animal: str, place: str, pronoun: str) -> str:
    """What an answer completes.

    >>> prompt_text("Mia", "fox", "forest", "She")
    'Mia the fox lived in the forest. She found a'
    """
    return f"{opening(name, animal, place)} {pronoun} found a"


def answer_text(words: Sequence[str]) -> str:
    """An answer, as it follows its prompt.

    >>> answer_text(("red", "ball"))
    ' red ball.'
    """
    adjective, thing = words
    return f" {adjective} {thing}."


def slot_kernel() -> Array:
    """(m, m): a word is kept with probability 1 − e, else drawn from τ (which may give it back)."""
    return np.diag(1.0 - EDIT_RATES) + EDIT_RATES[:, None] * REPLACEMENTS


def product_kernel() -> Array:
    """K (A, A): slots are edited independently."""
    kernel: Array = np.ones((1, 1))
    for _ in SLOTS:
        kernel = np.asarray(np.kron(kernel, slot_kernel()), dtype=np.float64)
    return kernel


def product_laws(slot_laws: Array) -> Array:
    """Laws (P, A) of answers whose slots follow (P, m), independently."""
    laws: Array = np.ones((len(slot_laws), 1))
    for _ in SLOTS:
        laws = np.einsum("pa,pm->pam", laws, slot_laws).reshape(len(slot_laws), -1)
    return laws


def utilities() -> Array:
    """(A,) mean value of an answer's words, in [0, 1]."""
    return np.array([np.mean(values) for values in itertools.product(VALUES, repeat=len(SLOTS))])


@dataclass(frozen=True, eq=False)
class Problem:
    """An edit process in tokens.

    process   prompts (P,), upstream laws (P, A) and kernels (P, A, A)
    prompts   P token sequences, end-of-text first;  answers (P)(A) token sequences, end-of-text last
    end, mark  the end-of-text token, and `MARK` in tokens
    """

    process: EditProcess
    prompts: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[tuple[int, ...], ...], ...]
    end: int
    mark: tuple[int, ...]

    @property
    def n_answers(self) -> int:
        return len(self.answers[0])

    def corrector_prompt(self, prompt: int, answer: int) -> tuple[int, ...]:
        """What a corrector reads."""
        return self.prompts[prompt] + self.answers[prompt][answer][:-1] + self.mark

    @cached_property
    def places(self) -> tuple[dict[tuple[int, ...], int], ...]:
        """For each prompt: answer in tokens → its number."""
        return tuple({answer: a for a, answer in enumerate(own)} for own in self.answers)

    def place(self, prompt: int, tokens: Sequence[int]) -> int:
        """The number of an answer written in tokens, −1 if it is none of them."""
        return self.places[prompt].get(tuple(tokens), -1)

    @property
    def longest(self) -> int:
        """Tokens of the longest answer."""
        return max(len(answer) for own in self.answers for answer in own)


def edit_problem(tokenizer: Any, context: int) -> Problem:
    """The problem in a tokenizer's tokens. ValueError names prompt and answer that do not fit the context twice."""
    end = tokenizer.eos_token_id

    def encode(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    prompts = tuple((end, *encode(prompt_text(*hero))) for hero in HEROES)
    mark = encode(MARK)
    listed = tuple((*encode(answer_text(words)), end) for words in itertools.product(*SLOTS))
    answers = (listed,) * len(prompts)
    for p, (prompt, own) in enumerate(zip(prompts, answers, strict=True)):
        for a, answer in enumerate(own):
            if (size := len(prompt) + len(mark) + 2 * len(answer) - 1) > context:
                raise ValueError(
                    f"prompt {p} with answer {a} and a correction as long has {size} tokens, the context {context}"
                )
    kernel = product_kernel()
    process = EditProcess(
        PROMPT_LAW, product_laws(UPSTREAM["training"]), np.broadcast_to(kernel, (len(prompts), *kernel.shape))
    )
    return Problem(process, prompts, answers, end, mark)
