"""Folders that hold a model: written as a whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from simulate.numbers import in_words

#: Characters by which names of what is kept beside a folder are longer at most: `..NAME.reward-….….partial`.
BESIDE = 39


def write(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Configuration, weights (safetensors) and tokenizer into a folder that exists, whichever process asks: of several
    transformers by itself lets only the first one write a model."""
    model.__dict__["should_save_on_this_rank"] = lambda is_main_process: is_main_process
    try:
        with without_bars():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    finally:
        del model.__dict__["should_save_on_this_rank"]


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """No progress bars of transformers, which a folder on this machine does not need; restored afterwards."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def check_new(folder: Path) -> None:
    """ValueError, before the work whose result it is for, where `folder` is there already or cannot be made."""
    if os.path.lexists(folder):  # a link that leads nowhere, too
        raise ValueError(f"{folder} exists already: name a folder that does not")
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        check_beside(folder, BESIDE)
    except OSError as error:
        raise ValueError(f"{folder} cannot be made: {error.strerror}") from None


def check_beside(path: Path, longer: int) -> None:
    """OSError where nothing can be written beside `path`, or a name cannot be so many characters longer than its."""
    with contextlib.suppress(FileNotFoundError):
        path.with_name("-" * longer + path.name).lstat()
    with tempfile.TemporaryFile(dir=path.absolute().parent):
        pass  # without a name: a kill leaves nothing


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, which takes its place if the block ends well and is removed if it fails.

    An old folder is moved aside before the new one is renamed: between these two renames a kill leaves it under a
    name that begins with a dot, and nothing under its own; at no time is there half a folder. What earlier kills left
    is tidied first. OSError names a folder that cannot be written.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    tidy(folder)
    mark = uuid.uuid4().hex[:8]
    partial = folder.with_name(f".{folder.name}.{mark}.partial")
    partial.mkdir()
    try:
        with _held(partial):
            yield partial
            if folder.exists():
                old = folder.with_name(f".{folder.name}.{mark}.old")
                with _held(folder):
                    folder.rename(old)
                    partial.rename(folder)
                    shutil.rmtree(old)
            else:
                partial.rename(folder)
    except (SafetensorError, OSError) as error:  # of a full disk: weights, arrays, open files
        if type(error) not in (SafetensorError, OSError) or getattr(error, "filename", None) is not None:
            raise  # it says itself what is wrong, and where
        raise OSError(f"{folder} cannot be written: {in_words(error)}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def tidy(folder: Path) -> None:
    """Of what kills left of a folder (`replacing`): the half is removed, the whole put back; not what another process
    is writing."""
    folder = folder.absolute()
    beside = glob.escape(f".{folder.name}.") + 8 * "[0-9a-f]"
    for kind in ("old", "partial"):
        for left in folder.parent.glob(f"{beside}.{kind}"):
            with _held(left) as ours:
                if ours and kind == "old" and not folder.exists():
                    left.rename(folder)
                elif ours:
                    shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """The lock of a folder, which goes with it when it is renamed and ends with the process, however that ends; False
    where another has it, or the file system has none."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # another process tidied it
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = True
    except OSError:
        ours = False
    try:
        yield ours
    finally:
        os.close(handle)
