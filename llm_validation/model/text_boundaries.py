"""Where a text begins and ends: one answer for training, generating and scoring, given by the tokenizer and the model.

    begin   what the tokenizer itself puts before a text: <s>, <bos>, or nothing
    border  prompt and completion are tokenised as one text; a token that reaches over the border belongs to the
            completion, so that no text gains a blank or loses a merge at it
    end     every token that the generation config or the tokenizer calls an end ends a response; training puts the
            tokenizer's own where a completion has none
    chat    messages become text by the tokenizer's own template, and what it writes is the whole text: no beginning is
            put before it, as in `apply_chat_template(tokenize=True)` and in TRL. A completion is what the template
            writes after the prompt's text, which ends where an answer is asked for (`add_generation_prompt=True`). A
            template that writes an answer after anything else (that asks with an opened <think>, say, and writes the
            answer without) is refused: TRL cuts at the longest common beginning, and so trains after a text that the
            model is never asked with.

Examples
--------
>>> from llm_validation.text.corpus import train_tokenizer
>>> texts = TextBoundaries.of(train_tokenizer(["to be or not to be"], vocab_size=260))
>>> prompt, completion = texts.split("to ", "be")
>>> texts.tokenizer.decode(prompt), texts.tokenizer.decode(completion)
('<|endoftext|>to ', 'be<|endoftext|>')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from jinja2 import TemplateError

from llm_validation.model.checks import in_a_line

Tokens = tuple[int, ...]
Message = Mapping[str, str]


@dataclass(frozen=True)
class TextBoundaries:
    """How a tokenizer, and the model it belongs to, begin and end a text.

    tokenizer  of the tokenizers library, with offsets
    begin      tokens before every text, () for none
    ends       tokens that end a response; the first is what training puts there
    size       rows of the model's embedding: tokens from there on cannot be read; None: not known
    """

    tokenizer: Any
    begin: Tokens
    ends: Tokens
    size: int | None = None

    @classmethod
    def of(cls, tokenizer: Any, model: Any = None) -> TextBoundaries:
        """Those of a tokenizer, and of a model where one is given. ValueError without any end-of-text token."""
        plain, whole = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (False, True))
        place = next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), 0)
        config = getattr(model, "generation_config", None)
        said = getattr(config, "eos_token_id", None)
        listed = [] if said is None else [said] if isinstance(said, int) else list(said)
        ends = dict.fromkeys(end for end in (tokenizer.eos_token_id, *listed) if end is not None)
        if not ends:
            raise ValueError("the tokenizer has no end-of-text token: completions would have no end")
        embedding = None if model is None else model.get_input_embeddings()
        size = None if embedding is None else embedding.weight.shape[0]
        return cls(tokenizer, tuple(whole[:place]), tuple(ends), size)

    def prompt(self, text: str, place: str = "the prompt", *, templated: bool = False) -> Tokens:
        """A prompt in tokens, its beginning included; ValueError, naming `place`, for one without tokens.

        templated   whether `chat` wrote it, and nothing is to be put before it
        """
        _check_text(text, place)
        tokens = self._begun(self.tokenizer(text, add_special_tokens=False)["input_ids"], templated)
        return self._readable(tokens, place) if tokens else _refuse(place, f"is empty, and {_nothing(templated)}")

    def split(
        self, prompt: str, completion: str, place: str = "the text", *, templated: bool = False
    ) -> tuple[Tokens, Tokens]:
        """(prompt, completion) in tokens, each at least one: the text prompt + completion, cut at their border.

        templated   whether `chat` wrote the prompt, and nothing is to be put before it
        ValueError, naming `place`: an empty completion; a prompt without a token before the border; a token that the
        model has no embedding of.
        """
        if not completion:
            _refuse(place, "has an empty completion")
        _check_text(prompt + completion, place)
        whole = self.tokenizer(prompt + completion, add_special_tokens=False, return_offsets_mapping=True)
        ids, ends_at = whole["input_ids"], [end for _, end in whole["offset_mapping"]]
        border = next((i for i, end in enumerate(ends_at) if end > len(prompt)), len(ids))
        first = self._begun(ids[:border], templated)
        if not first:
            what = "a prompt that is one token with what follows" if prompt else "an empty prompt"
            _refuse(place, f"has {what}, and {_nothing(templated)}")
        rest = tuple(ids[border:])
        if not rest:
            _refuse(place, "has a completion without tokens")
        rest = rest if rest[-1] in self.ends else (*rest, self.ends[0])
        self._readable((*first, *rest), place)
        return first, rest

    def chat(self, messages: Sequence[Message], completion: Sequence[Message] = ()) -> tuple[str, str]:
        """(prompt, completion) as texts by the chat template; of a prompt alone the completion is ''.

        ValueError: a tokenizer without a template, a prompt that ends with an answer, a template that refuses the
        messages or leaves out what the user says, or one that writes an answer after another text than the one it asks
        with.
        """
        if not getattr(self.tokenizer, "chat_template", None):
            raise ValueError("the tokenizer has no chat template: messages cannot become a text")
        if not completion and messages[-1]["role"] == "assistant":
            raise ValueError("the last message is the assistant's: nothing is asked")
        before = self._render(messages, add_generation_prompt=True)
        if not completion:
            return before, ""
        whole = self._render([*messages, *completion], add_generation_prompt=False)
        if not whole.startswith(before):
            same = shared(before, whole)
            raise ValueError(
                f"the chat template asks for an answer with {before[same:][:40]!r} where it writes this answer with "
                f"{whole[same:][:40]!r}: the completion does not follow the text that the model is asked with"
            )
        return before, self._ended(whole[len(before) :])

    def _render(self, messages: Sequence[Message], **options: Any) -> str:
        text = rendered(self.tokenizer, messages, **options)
        asked = next((turn["content"].strip() for turn in reversed(messages) if turn["role"] == "user"), "")
        if asked not in text:  # a template that wants contents in parts writes nothing of a text
            raise ValueError(f"the chat template does not write the user's message {asked[:40]!r}")
        return text

    def _ended(self, text: str) -> str:
        """Without the blanks that a template writes after an end token."""
        bare = text.rstrip()
        marks = tuple(self.tokenizer.convert_ids_to_tokens(list(self.ends)))
        return bare if bare.endswith(marks) else text

    def _begun(self, ids: Sequence[int], templated: bool) -> Tokens:
        """With the tokenizer's beginning, where it is not there already and no template has written the whole text."""
        begun = templated or tuple(ids[: len(self.begin)]) == self.begin
        return tuple(ids) if begun else (*self.begin, *ids)

    def _readable(self, tokens: Tokens, place: str) -> Tokens:
        if self.size is not None and max(tokens) >= self.size:
            _refuse(place, f"has token {max(tokens)}, beyond the model's {self.size} embeddings")
        return tokens


def rendered(tokenizer: Any, messages: Sequence[Message], **options: Any) -> str:
    """Messages by a chat template, which is somebody's program. ValueError, in one sentence, where it fails."""
    try:
        text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, **options)
    except Exception as error:  # it refuses a system message, or wants tools that nobody gives
        said = in_a_line(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {in_a_line(error)}"
        raise ValueError(f"the chat template refuses these messages: {said}") from error
    return text


def is_conversation(value: object) -> TypeGuard[Sequence[Message]]:
    """Is it a list of messages, one at least, each with role and content?"""
    turns = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
    return bool(turns) and all(
        isinstance(turn, Mapping) and all(isinstance(turn.get(name), str) for name in ("role", "content"))
        for turn in turns
    )


def shared(one: Sequence[object], other: Sequence[object]) -> int:
    """How many items two texts or sequences of tokens have in common at their beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _check_text(text: str, place: str) -> None:
    """ValueError for half of a surrogate pair, which JSON can hold and no tokenizer reads."""
    if odd := [character for character in text if "\ud800" <= character <= "\udfff"]:
        _refuse(place, f"holds U+{ord(odd[0]):04X}, half of a character")


def _nothing(templated: bool) -> str:
    return "the chat template writes nothing there" if templated else "the tokenizer begins no text"


def _refuse(place: str, what: str) -> Tokens:
    raise ValueError(f"{place} {what}")
