"""Messages in tokens: what a chat template writes is the whole text, as transformers and TRL have it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from llm_validation.aligner.texts import Template, read_corrections
from llm_validation.commands.correct import Asked, _read
from llm_validation.commands.prompts import Writer
from llm_validation.generation.engine import Sampling
from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.preferences.data import read_preferences
from llm_validation.preferences.files import read_texts
from llm_validation.rewards.sources import Classifier
from tests.oracles.other_models import gpt2_style, llama3_style, qwen_style, sentence_piece

STYLES = {"gpt2": gpt2_style, "llama2": sentence_piece, "llama3": llama3_style, "qwen": qwen_style}
ASKED = [{"role": "user", "content": "How are you?"}]
FINE, NO = ([{"role": "assistant", "content": text}] for text in ("fine", "no"))
TURNS = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}\n{% endfor %}"
ASKS = "{% if add_generation_prompt %}[assistant]{% endif %}"
TEMPLATES = {
    "begin": "{{ bos_token }}" + TURNS + ASKS,
    "no begin": TURNS + ASKS,
    "no begin, no end": TURNS.replace("{{ eos_token }}", "") + ASKS,
}


def by_transformers(tokenizer, messages, *, asks=False):
    """The template's tokens; of a conversation up to its last end token, which is put there where it has none."""
    ids = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=asks)["input_ids"]
    if asks:
        return tuple(ids)
    last = max((i for i, token in enumerate(ids) if token == tokenizer.eos_token_id), default=None)
    return (*ids, tokenizer.eos_token_id) if last is None else tuple(ids[: last + 1])


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("style", STYLES)
def test_messages_are_the_tokens_that_transformers_gives(style, template, tmp_path):
    """Of align, advise and reward models; of generate; of the Aligner, trained and correcting; of classifiers."""
    tokenizer = STYLES[style]()
    tokenizer.chat_template = TEMPLATES[template]
    texts = TextBoundaries.of(tokenizer)
    asked = by_transformers(tokenizer, ASKED, asks=True)

    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"prompt": ASKED, "chosen": FINE, "rejected": NO}))
    for example, side in zip(read_preferences(path, texts, 128).examples, (FINE, NO), strict=True):
        assert example.prompt == asked
        assert example.prompt + example.completion == by_transformers(tokenizer, ASKED + side)
    path.write_text(json.dumps({"prompt": ASKED, "completion": "fine", "label": True}) + "\n"
                    + json.dumps({"prompt": ASKED, "completion": NO, "label": False}))  # fmt: skip
    assert {example.prompt for example in read_preferences(path, texts, 128).examples} == {asked}

    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda **_: SimpleNamespace()))
    writer = Writer(model, texts, Sampling(4, texts.ends))
    assert writer.asked(ASKED, False, "") == writer.asked("How are you?", False, "") == asked

    corrector = Template.of(texts, "mend {prompt} | {answer}")
    reads = by_transformers(tokenizer, [{"role": "user", "content": "mend How are you? | no"}], asks=True)
    path.write_text(json.dumps({"prompt": "How are you?", "correction": "fine", "answer": "no"}))
    assert read_corrections(path, texts, corrector, 128).chosen[0].prompt == reads
    assert _read(writer, corrector, Asked(1, "How are you?", "no"), "no", path) == reads

    model.config.pad_token_id = tokenizer.eos_token_id
    spy = Spy(model.config, [])
    Classifier(spy, tokenizer, "mine")([ASKED], ["fine"])
    assert spy.seen == [tokenizer.apply_chat_template(ASKED + FINE, tokenize=True)["input_ids"]]


@dataclass
class Spy:
    """A classifier that writes down what it reads."""

    config: Any
    seen: list[list[int]]

    def __call__(self, input_ids, **_):
        self.seen += input_ids.tolist()
        return SimpleNamespace(logits=torch.zeros(len(input_ids), 1))


THINKS = (
    "{% for m in messages %}<|im_start|>ROLE\n{% if m.role == 'assistant' and loop.last %}WRITES{% endif %}"
    "{{ m.content.split('</think>')[-1] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
EMPTY = "<think>\n\n</think>\n\n"


def thinks(role="{{ m.role }}", writes="", asks=""):
    template = THINKS.replace("ROLE", role).replace("WRITES", writes)
    return template.replace("assistant\n{% endif", f"assistant\n{asks}{{% endif")


@pytest.mark.parametrize(("template", "completion"), [
    (thinks(), "fine<|im_end|>"),                                                        # the thoughts are left out
    (thinks(writes=EMPTY), EMPTY + "fine<|im_end|>"),                                    # Qwen3: empty ones are put in
    (thinks(writes=EMPTY, asks=EMPTY), "fine<|im_end|>"),                                # Qwen3, not to think
    (thinks(writes=EMPTY, asks="<think>\n"), "\n</think>\n\nfine<|im_end|>"),             # Qwen3 of 2507
    (thinks(asks="<think>\n"), r"asks for an answer with '<think>\\n' where it writes this answer with 'no<"),
    (thinks(role="{{ 'mind' if 'fine' in m.content else m.role }}"), "with 'assistant.*' where .* with 'mind"),
])  # fmt: skip
def test_a_completion_is_what_follows_the_text_the_model_is_asked_with(template, completion, tmp_path):
    tokenizer = qwen_style()
    tokenizer.chat_template = template
    texts, path = TextBoundaries.of(tokenizer), tmp_path / "t.jsonl"
    answers = [[{"role": "assistant", "content": f"<think>so</think>{text}"}] for text in ("no", "fine")]
    path.write_text(json.dumps({"prompt": ASKED, "chosen": answers[0], "rejected": answers[1]}))
    if "with" in completion:
        with pytest.raises(ValueError, match=rf"t\.jsonl, line 1: the chat template .*{completion}"):
            read_texts(path, texts)
        return
    (pair,) = read_texts(path, texts)
    assert pair.prompt == tokenizer.apply_chat_template(ASKED, tokenize=False, add_generation_prompt=True)
    assert pair.rejected == completion


@pytest.mark.parametrize(("pair", "said"), [
    ({"chosen": [*ASKED, {"role": "assistant", "content": ""}]}, "line 1: an answer is empty"),
    ({"prompt": [*ASKED, *FINE], "chosen": FINE}, "line 1: the answer is a second message of 'assistant' in a row"),
])  # fmt: skip
def test_an_answer_of_nothing_and_a_second_answer_in_a_row_are_refused(tmp_path, pair, said):
    tokenizer = qwen_style()
    answer = [{"role": "assistant", "content": "no"}]
    record = {"rejected": answer if "prompt" in pair else [*ASKED, *answer], **pair}
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=said):
        read_preferences(path, TextBoundaries.of(tokenizer), 128)


@pytest.mark.parametrize(("template", "said"), [
    ("{{ tools | length }}", "the chat template refuses these messages: TypeError: object of type 'NoneType' has no"),
    ("{{ 1 // 0 }}", "the chat template refuses these messages: ZeroDivisionError"),
    ("{{ raise_exception('no system\nmessage') }}", "the chat template refuses these messages: no system message$"),
])  # fmt: skip
def test_a_template_that_fails_is_one_sentence(template, said):
    tokenizer = gpt2_style()
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match=said):
        TextBoundaries.of(tokenizer).chat(ASKED)
    with pytest.raises(ValueError, match=f"somebody's: {said}"):
        Classifier(None, tokenizer, "somebody's").text(ASKED, "fine")


def test_a_template_that_leaves_out_what_the_user_says_is_refused():
    """One for images, which reads contents in parts and writes nothing of a text."""
    tokenizer = gpt2_style()
    parts = "{% for c in m.content %}{{ c.text }}{% endfor %}"
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]" + parts + "{% endfor %}" + ASKS
    with pytest.raises(ValueError, match=r"the chat template does not write the user's message 'How are you\?'"):
        TextBoundaries.of(tokenizer).chat(ASKED)
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{% endfor %}" + ASKS
    assert TextBoundaries.of(tokenizer).chat([{"role": "user", "content": " How "}])[0] == "[user]How[assistant]"


def test_a_conversation_that_ends_with_an_answer_asks_nothing():
    """A template would ask for a second answer to it, with nothing said in between."""
    tokenizer = gpt2_style()
    tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}[assistant]"
    turns = [{"role": "user", "content": "How"}, {"role": "assistant", "content": "So"}]
    with pytest.raises(ValueError, match="the last message is the assistant's: nothing is asked"):
        TextBoundaries.of(tokenizer).chat(turns)
