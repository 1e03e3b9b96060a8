"""What to do when a batch does not fit in the device's memory: work through it in smaller portions, and say so."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from tqdm import tqdm

Result = TypeVar("Result")


class TooLittleMemory(RuntimeError):
    """Something does not fit in the device's memory, and smaller portions do not help."""


@dataclass
class Portion:
    """How many rows are worked on at a time; what has once been too many is not tried again."""

    rows: int


def fitting(
    what: str, portion: Portion, run: Callable[[int], Result], *, alone: bool = True, unit: str = "row"
) -> Result:
    """run(portion.rows), with the portion halved, in place, until it fits.

    what   names the work in messages, "step 7" say; every halving is one line on stderr
    run    may be repeated: it must leave nothing behind when it runs out of memory
    alone  False where other processes take part in `run`, who would wait for ever for one that begins again
    unit   what the portion counts, in messages
    TooLittleMemory where a single row does not fit, or `alone` is False.
    """
    while True:
        try:
            return run(portion.rows)
        except torch.OutOfMemoryError as error:
            if not alone:
                raise TooLittleMemory(
                    f"{what}: {portion.rows} {unit}s per process do not fit in the device's memory; choose a "
                    f"smaller batch or more processes ({error})"
                ) from error
            if portion.rows == 1:
                raise TooLittleMemory(
                    f"{what}: a single {unit} does not fit in the device's memory beside the model and its optimiser; "
                    f"choose a smaller context or model, or shard it over several processes ({error})"
                ) from error
        # after the handler, because the exception holds on to the tensors of the pass that failed
        gc.collect()
        torch.cuda.empty_cache()
        fewer = portion.rows // 2
        tqdm.write(
            f"{what}: too little device memory for {portion.rows} {unit}s at a time; again with {fewer}",
            file=sys.stderr,
        )
        portion.rows = fewer
