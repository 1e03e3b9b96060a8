"""Text in, token blocks out: reading documents, training a tokenizer, packing.

Legend: N blocks, T tokens in a block.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

Tokens = NDArray[np.int64]

#: Ends every document (and, as the first token, announces one); a line of its own separates documents in a text file.
END_OF_TEXT = "<|endoftext|>"
#: Fills up the shorter rows of a batch; never predicted, never a target.
PADDING = "<|pad|>"

#: Documents handed to the tokenizer at a time: bounds the memory of its Python objects.
DOCUMENTS_AT_ONCE = 10_000


def read_documents(paths: Iterable[str | Path], field: str = "text") -> list[str]:
    """The documents of text files, in order; surrounding white space and empty documents are left out.

    *.jsonl, *.jsonl.gz   one document a line, in `field`: a string, or a list of strings (turns), joined by newlines
    any other name        plain text, or gzip if it ends in .gz: documents are separated by lines `<|endoftext|>`;
                          without such a line the whole file is one document
    Text is UTF-8. FileNotFoundError names a file that is not there; ValueError the file and, in a .jsonl, the line and
    the field that cannot be read, or a file without any document.
    """
    documents: list[str] = []
    for path in map(Path, paths):
        if not path.is_file():
            raise FileNotFoundError(f"no such corpus file: {path}")
        text = read_text(path)
        lines_of_json = path.name.removesuffix(".gz").endswith(".jsonl")
        found = _json_lines(path, text, field) if lines_of_json else _separated(text)
        kept = [document for document in map(str.strip, found) if document]
        if not kept:
            raise ValueError(f"{path} holds no document")
        documents += kept
    return documents


def read_text(path: Path) -> str:
    """The file as text, without a byte order mark. ValueError for a damaged gzip stream, or bytes not UTF-8."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is not a complete gzip file: {error}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: not UTF-8 text: {error.reason}") from error


def _separated(text: str) -> Iterator[str]:
    """The pieces between lines that hold the separator and nothing else."""
    document: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.strip() == END_OF_TEXT:
            yield "".join(document)
            document = []
        else:
            document.append(line)
    yield "".join(document)


def once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError for a field that stands there twice, of which the last would count."""
    record = dict(fields)
    if len(record) < len(fields):
        names = [name for name, _ in fields]
        raise ValueError(f"field {next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return record


def json_objects(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every line that is not blank. ValueError names a line that holds no JSON object."""
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: JSON strings may hold U+2028
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=once)
        except (ValueError, RecursionError) as error:  # the latter of a thousand brackets
            said = f"{error.msg} (character {error.colno})" if isinstance(error, json.JSONDecodeError) else error
            raise ValueError(f"{path}, line {number}: not JSON: {said}") from error
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number}: not an object but {type(record).__name__}")
        yield number, record


def _json_lines(path: Path, text: str, field: str) -> Iterator[str]:
    """The field of every line; lines of white space are skipped."""
    for number, record in json_objects(path, text):
        if field not in record:
            there = ", ".join(map(repr, record))
            raise ValueError(f"{path}, line {number}: no field {field!r}; it has {there}")
        value = record[field]
        if isinstance(value, list) and all(isinstance(turn, str) for turn in value):
            value = "\n".join(value)
        if not isinstance(value, str):
            raise ValueError(
                f"{path}, line {number}: field {field!r} must be a string or a list of strings, "
                f"got {type(value).__name__}"
            )
        yield value


def train_tokenizer(documents: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level byte-pair tokenizer, without loss on any text: decode(encode(text)) == text.

    vocab_size   at least 258: 256 bytes, `<|endoftext|>` (beginning and end of a document) and `<|pad|>`. It is an
                 upper bound: where every word of the documents is one token already, the vocabulary stays smaller,
                 and len(tokenizer) is its size. ValueError if it is below 258.
    """
    specials = [END_OF_TEXT, PADDING]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocab_size < len(alphabet) + len(specials):
        raise ValueError(f"vocab_size {vocab_size} is below {len(alphabet) + len(specials)}: bytes and special tokens")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=specials, initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(documents, trainer=trainer)
    # a document begins after the end of another: what it is to say of itself to whoever asks it for a text
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A", special_tokens=[(END_OF_TEXT, tokenizer.token_to_id(END_OF_TEXT))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
        clean_up_tokenization_spaces=False,
    )


def encode(documents: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> list[list[int]]:
    """Token ids of each document, without any special token: a separator written in the text is read as text."""
    ids: list[list[int]] = []
    for first in range(0, len(documents), DOCUMENTS_AT_ONCE):
        group = list(documents[first : first + DOCUMENTS_AT_ONCE])
        ids += tokenizer(group, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


def pack(documents: Sequence[str], tokenizer: PreTrainedTokenizerFast, length: int) -> Tokens:
    """Token blocks (N, length): the documents one after another, each followed by the end-of-text token.

    Blocks are contiguous, so a document may run over into the next block. What does not fill a last block is dropped:
    fewer than `length` tokens. Blocks begin anywhere in a document, some of them with an end-of-text token, which is
    how a model learns to begin from one alone; documents that all have the same number of tokens, a divisor of
    `length`, would not teach it. ValueError if there is not one full block.
    """
    end = tokenizer.eos_token_id
    stream = np.fromiter(chain.from_iterable((*ids, end) for ids in encode(documents, tokenizer)), dtype=np.int64)
    blocks = len(stream) // length
    if blocks == 0:
        raise ValueError(f"{len(documents)} documents make {len(stream)} tokens, fewer than one block of {length}")
    return stream[: blocks * length].reshape(blocks, length)
