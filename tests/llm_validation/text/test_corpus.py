"""Reading documents, the tokenizer that loses nothing, and packing."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_validation.text import language as lang
from llm_validation.text.corpus import END_OF_TEXT, encode, pack, read_documents, train_tokenizer
from llm_validation.text.language import STORIES
from simulate.montecarlo import generator

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the corpora for experiments are not on this machine")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(STORIES.sample(generator(0, "tokenizer"), 2_000), 512)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_plain_text_and_gzip(tmp_path):
    text = f"One.\nTwo. {END_OF_TEXT} stays.\n{END_OF_TEXT}\n\n  Three — é.\n{END_OF_TEXT}\n \n"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
    expected = [f"One.\nTwo. {END_OF_TEXT} stays.", "Three — é."]
    assert read_documents([tmp_path / "a.txt"]) == expected
    assert read_documents([str(tmp_path / "a.txt.gz"), tmp_path / "a.txt"]) == expected * 2


def test_text_without_separator_is_one_document(tmp_path):
    (tmp_path / "a.md").write_text("One.\n\nTwo.\n")
    assert read_documents([tmp_path / "a.md"]) == ["One.\n\nTwo."]


def test_lines_of_json(tmp_path):
    records = [{"text": "One\u2028line."}, {"text": ["Hello.", "Good day."]}]
    lines = "\n\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.replace('"text"', '"turns"').encode()))
    assert read_documents([tmp_path / "a.jsonl"]) == ["One\u2028line.", "Hello.\nGood day."]
    assert read_documents([tmp_path / "b.jsonl.gz"], "turns") == ["One\u2028line.", "Hello.\nGood day."]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"body": "y"}\n', r"a\.jsonl, line 2: no field 'text'; it has 'body'"),
        ("a.jsonl", b'{"text": "x"}\n{"text": 3}\n', r"a\.jsonl, line 2: field 'text' must be a string .* got int"),
        ("a.jsonl", b'{"text": ["x", 3]}\n', r"line 1: field 'text' must be a string .* got list"),
        ("a.jsonl", b'\n["x"]\n', r"line 2: not an object but list"),
        ("a.jsonl", b'{"text": "x"\n', r"a\.jsonl, line 1: not JSON"),
        ("a.txt", b"fine\n\xff\xfe\n", r"a\.txt, line 2: not UTF-8"),
        ("a.txt.gz", b"no gzip", r"a\.txt\.gz is not a complete gzip file"),
        ("a.txt.gz", gzip.compress(b"cut short" * 50, mtime=0)[:-9], r"a\.txt\.gz is not a complete gzip file"),
        ("a.txt", b" \n", r"a\.txt holds no document"),
    ],
)
def test_unreadable_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_documents([tmp_path / name])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.txt"):
        read_documents([tmp_path / "nothing.txt"])


# --- tokenizer --------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_decoding_undoes_encoding(tokenizer, text):
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    assert tokenizer.decode(encode([text], tokenizer)[0]) == text


def test_decoding_keeps_what_a_tidying_decoder_would_change(tokenizer):
    text = f"  do n't , .  naïve — 🦊\r\n\t\x00 {END_OF_TEXT}<|pad|>"
    (ids,) = encode([text], tokenizer)
    assert tokenizer.decode(ids) == text
    assert not {tokenizer.eos_token_id, tokenizer.pad_token_id} & set(ids), "text cannot forge a special token"


def test_every_word_of_the_stories_is_one_token(tokenizer):
    rest = (*lang.PRONOUNS, *lang.ANIMALS, *lang.PLACES, *lang.VERBS, *lang.ADJECTIVES, *lang.OBJECTS, *lang.FEELINGS)
    for word in (*lang.NAMES, *(" " + word for word in (*rest, "the", "lived", "in", "a", "felt", "The", "end"))):
        assert len(encode([word], tokenizer)[0]) == 1, word
    assert len(tokenizer) <= 512


def test_special_tokens(tokenizer):
    assert tokenizer.eos_token == tokenizer.bos_token == END_OF_TEXT
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)
    with pytest.raises(ValueError, match="vocab_size 257 is below 258"):
        train_tokenizer(["a"], 257)


# --- packing ----------------------------------------------------------------------------------------------------------


def test_packing_keeps_every_token_in_order_up_to_the_tail(tokenizer):
    stories = STORIES.sample(generator(1, "pack"), 50)
    stream = [token for ids in encode(stories, tokenizer) for token in (*ids, tokenizer.eos_token_id)]
    blocks = pack(stories, tokenizer, 32)
    assert blocks.dtype == np.int64
    assert blocks.shape == (len(stream) // 32, 32)
    assert blocks.ravel().tolist() == stream[: blocks.size]
    assert 0 <= len(stream) - blocks.size < 32
    pieces = tokenizer.decode(blocks.ravel()).split(END_OF_TEXT)
    assert pieces[:40] == stories[:40]


def test_too_little_text_for_a_block_is_refused(tokenizer):
    with pytest.raises(ValueError, match="1 documents make 2 tokens, fewer than one block of 8"):
        pack(["Mia"], tokenizer, 8)


# --- real text --------------------------------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize(
    ("name", "field", "count"),
    [
        ("corpus_pd_stories.txt.gz", "text", 2265),
        ("stories_ccby_en.jsonl.gz", "text", 686),
        ("sgd_dialogues.jsonl.gz", "turns", 17193),
    ],
)
def test_real_corpora_are_read(name, field, count):
    documents = read_documents([DATA / name], field)
    assert abs(len(documents) - count) <= 0.01 * count  # documents without text are left out
    few = documents[:100]
    tokenizer = train_tokenizer([document[:5000] for document in few], 1024)
    assert len(tokenizer) == 1024
    assert [tokenizer.decode(ids) for ids in encode(few[:5], tokenizer)] == few[:5]
    tokens = sum(len(ids) + 1 for ids in encode(few, tokenizer))
    assert 2.0 < sum(len(document.encode()) for document in few) / tokens < 5.0
