"""Preference data: log-probabilities and gradients row by row, batches, reading and everything it refuses."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.preferences.data import Example, Preferences, centred, epoch_batches, mismatched, read_preferences
from llm_validation.preferences.listed import listed
from llm_validation.preferences.sequences import (
    TokenBatch,
    completion_forward,
    full_log_probabilities,
    rows_batch,
    sequence_log_probabilities,
    shared_batch,
)
from llm_validation.preferences.trace import split
from llm_validation.text.corpus import train_tokenizer
from tests.oracles.toy_preferences import BAD, CONTEXT, GOOD, PAIR, model, naive, preferences, word_tokenizer, written

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tokenizer():
    return TextBoundaries.of(word_tokenizer())


# --- log-probabilities ------------------------------------------------------------------------------------------------


def layouts(data: Preferences) -> dict[str, TokenBatch]:
    return {
        "rows": rows_batch(data.examples, CPU),
        "shared": shared_batch(list(zip(data.chosen, data.rejected, strict=True)), CPU),
    }


@pytest.mark.parametrize("layout", ["rows", "shared"])
def test_log_probabilities_are_those_of_single_rows(layout):
    net, data = model(), preferences()
    expected = torch.stack([naive(net, example) for example in data.examples])
    batch = layouts(data)[layout]
    for function in (sequence_log_probabilities, full_log_probabilities):
        torch.testing.assert_close(function(net, batch), expected, rtol=1e-5, atol=1e-4)
    assert batch.shape[0] == 20
    assert (expected < -3.0).all()  # a nat or more per token: an untrained model has not much to lose


@pytest.mark.parametrize("layout", ["rows", "shared"])
def test_gradients_are_those_of_single_rows(layout):
    net, data = model(), preferences(4)
    weight = torch.linspace(-1.0, 1.0, 8)
    parameters = list(net.parameters())
    expected = torch.autograd.grad((weight * torch.stack([naive(net, e) for e in data.examples])).sum(), parameters)
    mine = torch.autograd.grad((weight * sequence_log_probabilities(net, layouts(data)[layout])).sum(), parameters)
    for one, other in zip(mine, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


class ScaledHead(torch.nn.Module):
    """A model that halves its logits after the head, as some do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = model()
        self.base_model, self.config = self.inner.base_model, self.inner.config

    def get_output_embeddings(self):
        return self.inner.get_output_embeddings()

    def forward(self, **inputs):
        out = self.inner(**inputs)
        out.logits = 0.5 * out.logits
        return out


def test_the_forward_pass_is_checked_against_the_model_s_own():
    data = preferences()
    assert completion_forward(model(), data.chosen, data.rejected, share=True).layout == "shared"
    assert completion_forward(model(), data.chosen, data.rejected, share=False).layout == "rows"
    scaled = ScaledHead()
    for parameter in scaled.parameters():
        parameter.data.mul_(3.0)  # logits large enough for the halving to show
    forward = completion_forward(scaled, data.chosen, data.rejected, share=True)
    assert forward.layout == "all positions"
    first, _ = forward(scaled, data.chosen[:2], data.rejected[:2])
    torch.testing.assert_close(first, torch.stack([naive(scaled, e) for e in data.chosen[:2]]), rtol=1e-4, atol=1e-3)


def test_a_window_of_attention_forbids_sharing():
    """The 4-D mask switches the window off, which shows only in texts longer than it: the last pair here."""
    config = MistralConfig(
        vocab_size=40, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=32, sliding_window=6, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = MistralForCausalLM(config).eval()
    for parameter in net.parameters():
        parameter.data.mul_(4.0)  # sharp enough for the window to matter
    short = [Example((3, 4), (5, k, 0), k) for k in (6, 7, 8, 9)]
    long = [Example(tuple(range(2, 14)), (k, k + 1, 0), k) for k in (20, 30)]
    assert completion_forward(net, short[:2], short[2:], share=True).layout == "shared"
    forward = completion_forward(net, [*short[:2], long[0]], [*short[2:], long[1]], share=True)
    assert forward.layout == "rows"
    torch.testing.assert_close(forward.rows(net, long), torch.stack([naive(net, e) for e in long]))
    # the longest text of all may be a rejected one
    chosen, rejected = (
        [Example((3, 4), (*own, 0), 1) for own in side] for side in ([(5,), (6, 7, 8)], [range(6, 18), (9,)])
    )
    assert completion_forward(net, chosen, rejected, share=True).layout == "rows"


# --- batches ----------------------------------------------------------------------------------------------------------


def test_every_example_comes_once_an_epoch_in_an_order_of_its_own():
    data = preferences(11)
    epochs = [epoch_batches(data, 4, seed=1, epoch=e) for e in (0, 1, 0)]
    assert [len(rows) for rows, _ in epochs[0]] == [4, 4, 3]
    orders = [np.concatenate([rows for rows, _ in batches]).tolist() for batches in epochs]
    assert all(sorted(order) == list(range(11)) for order in orders)
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize(("chosen", "rejected", "batch"), [(10, 10, 4), (3, 14, 6), (17, 5, 5), (4, 4, 3), (7, 8, 2)])
def test_no_batch_of_examples_lacks_a_class(chosen, rejected, batch):
    pool = preferences(20)
    data = Preferences("toy", pool.chosen[:chosen], pool.rejected[:rejected], paired=False)
    if batch == 2:
        with pytest.raises(ValueError, match=r"toy: 7 chosen examples for 8 batches of 2.*batches of 3 or more"):
            epoch_batches(data, batch, 0, 0)
        return
    batches = epoch_batches(data, batch, 0, 0)
    assert len(batches) == -(-(chosen + rejected) // batch)
    assert all(min(len(a), len(b)) >= 1 and len(a) + len(b) <= batch for a, b in batches)
    for side, size in ((0, chosen), (1, rejected)):
        assert sorted(np.concatenate([rows[side] for rows in batches]).tolist()) == list(range(size))


def test_mismatched_completions_belong_to_other_prompts_and_fit():
    data = preferences(6)
    longest = max(map(len, data.examples))
    found = mismatched(data, longest, seed=3)
    for own, other in zip(data.examples, found, strict=True):
        assert other.prompt == own.prompt
        assert len(other) <= longest
        assert all(other.completion != e.completion for e in data.examples if e.prompt == own.prompt)
    with pytest.raises(ValueError, match="all 2 examples have one prompt"):
        mismatched(preferences(1), CONTEXT, 0)
    with pytest.raises(ValueError, match=r"toy, line \d+: no completion of another prompt fits"):
        mismatched(data, 1, 0)
    two = Preferences("two", (Example((2, 3), (4, 0), 1),), (Example((5, 6), (7, 0), 2),), paired=False)
    assert [other.completion for other in mismatched(two, 4, 0)] == [(7, 0), (4, 0)], "as long as the context fits"
    with pytest.raises(ValueError, match="no completion of another prompt fits"):
        mismatched(two, 3, 0)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_pairs_and_examples_are_read(tmp_path, tokenizer):
    pairs = read_preferences(written(tmp_path, PAIR, "", PAIR), tokenizer, CONTEXT)
    assert pairs.paired
    assert pairs.chosen == (Example((2, 3), (4, 0), 1), Example((2, 3), (4, 0), 3))
    assert pairs.rejected[0].completion == (5, 6, 0)
    ended = {**GOOD, "completion": " w7 <end>"}  # a text that has its end already gets no second one
    examples = read_preferences(written(tmp_path, BAD, ended), tokenizer, CONTEXT)
    assert not examples.paired
    assert examples.chosen == (Example((2,), (7, 0), 2),)
    assert examples.rejected == (Example((2,), (7, 0), 1),)


BAD_INPUT = {
    "not json": ([PAIR, "{"], "line 2: not JSON"),
    "no object": (["[1]"], "line 1: not an object but list"),
    "missing": ([{"prompt": "w2", "chosen": " w3"}], "line 1: no field 'rejected'.*it has 'prompt', 'chosen'"),
    "no messages": ([{**PAIR, "chosen": []}], "line 1: field 'chosen' must be a string, or messages.*got"),
    "type": ([{**PAIR, "chosen": 3}], "line 1: field 'chosen' must be a string, or messages.*got 3"),
    "label": ([GOOD, {**BAD, "label": 0}], "line 2: field 'label' must be true or false, got 0"),
    "mixed": ([PAIR, GOOD], "line 2: field 'completion' in a file of prompt, chosen, rejected"),
    "both": ([{**PAIR, **GOOD}], "line 1: field 'chosen' in a file of prompt, completion, label"),
    "same": ([PAIR, {**PAIR, "rejected": " w4"}], "line 2: chosen and rejected are the same"),
    "empty completion": ([{**PAIR, "rejected": " "}], "line 1 has a completion without tokens"),
    "within a token": ([{"prompt": "w", "chosen": "4", "rejected": "5"}], "line 1 has a prompt that is one token with"),
    "empty prompt": ([{**PAIR, "prompt": ""}], "line 1 has an empty prompt"),
    "long": ([PAIR, {**PAIR, "rejected": " w5" * 31}], "line 2: prompt and completion have 34 tokens, the context 32"),
    "one class": ([GOOD, GOOD], "has no rejected examples"),
    "nothing": ([" "], "holds no preferences"),
    "twice": (
        ['{"prompt": "w2", "chosen": " w3", "rejected": " w4", "chosen": " w5"}'],
        "line 1.*'chosen' stands there",
    ),
    "surrogate": ([{**PAIR, "prompt": "w2 \ud800"}], "line 1 holds U.D800, half of a character"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_named(name, tmp_path, tokenizer):
    records, message = BAD_INPUT[name]
    with pytest.raises(ValueError, match=rf"data\.jsonl.*{message}"):
        read_preferences(written(tmp_path, *records), tokenizer, CONTEXT)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("prompt,chosen,rejected\nw2 w3, w4, w5 w6\n", "pair"),
        ("\ufeffprompt, chosen,rejected\r\nw2 w3, w4, w5 w6\r\n", "pair"),
        ('prompt,chosen,rejected\n"w2\nw3"," w4"," w5 w6"\nw2, w7, w7\n', "line 4: chosen and rejected are the same"),
        ("prompt,chosen,rejected\nw2, w3, w4, w5\n", "line 2: more fields than the header"),
        ("prompt,chosen,rejected\nw2, w3\n", "line 2: fewer fields than the header"),
        ("prompt,prompt,chosen,rejected\nw2,w2, w3, w4\n", "two columns have the same name 'prompt'"),
        ("prompt,chosen,rejected\nw2 ,4,w5\n", "a number is a text"),
        ("prompt,completion,label\nw2, w7,TRUE\nw2, w8,false\n", "examples"),
        ("prompt,completion,label\nw2, w7,1\n", "line 2: field 'label' must be true or false, got '1'"),
        ("prompt,completion,score\nw2, w7,2.5\nw2, w8,-1e3\n", "examples"),
        ("prompt,completion,score\nw2, w7,high\n", "line 2: field 'score' must be JSON, got 'high'"),
        ('prompt,ranking\nw2,"["" w7"", "" w8""]"\n', "ranking"),
        ("prompt,chosen,rejected\n\"[{'role': 'user'}]\", w7, w8\n", "line 2: field 'prompt' must be JSON"),
    ],
)  # fmt: skip
def test_a_table_is_what_stands_in_it(tmp_path, tokenizer, table, expected):
    """Blanks are kept, a comma too many shifts no column, and a line is the file's, not the table's."""
    (tmp_path / "t.csv").write_text(table, newline="", encoding="utf-8")
    if expected not in ("pair", "examples", "ranking", "a number is a text"):
        with pytest.raises(ValueError, match=rf"t\.csv.*{expected}"):
            read_preferences(tmp_path / "t.csv", tokenizer, CONTEXT)
        return
    read = read_preferences(tmp_path / "t.csv", tokenizer, CONTEXT)
    assert read.paired is (expected != "examples")
    rejected, prompt = ((8, 0), (2,)) if expected in ("examples", "ranking") else ((5, 6, 0), (2, 3))
    if expected == "a number is a text":
        rejected, prompt = (5, 0), (2,)
    assert (read.rejected[0].prompt, read.rejected[0].completion) == (prompt, rejected)


@pytest.mark.parametrize(("name", "place"), [("d.parquet", "row 2"), ("d.json", "entry 2"), ("d.csv", "line 3")])
def test_places_are_rows_of_a_parquet_entries_of_a_list_and_lines_of_what_has_lines(tmp_path, tokenizer, name, place):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="the extra `sweep` is not installed")
    table = pd.DataFrame({"prompt": ["w2", "w2"], "chosen": [" w3", " w7"], "rejected": [" w4", " w7"]})
    write = {"d.parquet": table.to_parquet, "d.json": partial(table.to_json, orient="records")}
    write.get(name, partial(table.to_csv, index=False))(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{re.escape(name)}, {place}: chosen and rejected are the same"):
        read_preferences(tmp_path / name, tokenizer, CONTEXT)


@pytest.mark.parametrize("paired", [True, False])
def test_a_prompt_in_words_is_one_prompt_in_tokens(tmp_path, paired):
    """A quotation mark is one token with the question mark before it: none of that splits what was asked."""
    merging = TextBoundaries.of(train_tokenizer(['so?" he'] * 50, 300))
    texts = merging.tokenizer
    assert len(texts.encode('?"', add_special_tokens=False)) == 1
    sides = [(" yes", " no"), ('"yes"', '"no"')]
    records: list[dict[str, object]] = [
        {"prompt": f"{k} so?", "chosen": one, "rejected": other} for k in range(4) for one, other in sides
    ]
    if not paired:
        records = [
            {"prompt": r["prompt"], "completion": r[side], "score": float(side == "chosen")}
            for r in records for side in ("chosen", "rejected")
        ]  # fmt: skip
    data = read_preferences(written(tmp_path, *records), merging, CONTEXT)
    said = [texts.decode([*e.prompt, *e.completion], skip_special_tokens=True) for e in data.chosen]
    assert said == [f"{k} so?{one}" for k in range(4) for one, _ in sides]
    assert [len(group.responses) for group in listed(data)] == [4] * 4
    train, held = ({texts.decode(e.prompt)[:15] for e in part.examples} for part in split(data, 0.5, 0))
    assert len(train) == len(held) == 2
    assert not train & held


def test_one_list_is_of_one_prompt(tmp_path):
    """Conversations bring their prompts with them: an answer to one question is no answer to the other."""
    words = word_tokenizer()
    words.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    asked = [[{"role": "user", "content": f"w{k}"}, {"role": "assistant", "content": "w9"}] for k in (2, 3)]
    for more in ({"ranking": asked}, {"completions": asked, "scores": [1, 2]}):
        with pytest.raises(ValueError, match="line 1: the conversations differ before their last message"):
            read_preferences(written(tmp_path, more), TextBoundaries.of(words), CONTEXT)


def test_lists_of_messages_are_read_from_parquet(tmp_path):
    words = word_tokenizer()
    words.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    answers = [[{"role": "assistant", "content": f"w{k}"}] for k in (4, 5)]
    table = pd.DataFrame([{"prompt": [{"role": "user", "content": "w2"}], "ranking": answers}])
    table.to_parquet(tmp_path / "t.parquet")
    read = read_preferences(tmp_path / "t.parquet", TextBoundaries.of(words), CONTEXT)
    assert (read.chosen[0].prompt, read.chosen[0].completion, read.rejected[0].completion) == ((2,), (4, 0), (5, 0))


def test_a_missing_or_binary_file_is_named(tmp_path, tokenizer):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_preferences(tmp_path / "nowhere", tokenizer, CONTEXT)
    (tmp_path / "data.jsonl").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_preferences(tmp_path / "data.jsonl", tokenizer, CONTEXT)


@pytest.mark.parametrize("value", [0.1, 0.5, 0.7, 1.1, 4.9, -0.3])
@pytest.mark.parametrize("size", [2, 3, 5, 7, 8])
def test_equal_scores_prefer_nothing_whatever_their_mean_rounds_to(value, size):
    tied = [Example((2,), (3 + k, 1), 1, value) for k in range(size)]
    real = [Example((9,), (3, 1), 2, value), Example((9,), (4, 1), 2, value + 1e-3)]
    assert centred(tied + real, [e.score for e in tied + real])[:size].tolist() == [0.0] * size
    assert centred(tied + real, [e.score for e in tied + real])[size:] == pytest.approx([-5e-4, 5e-4])
