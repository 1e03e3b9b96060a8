"""Jobs of language models in a worker: one alone, or the seeds of one name as a stack."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial

import torch

from llm_validation.catalogue.stacked_seeds import run_stacked
from llm_validation.catalogue.train import Trainer, train_one
from llm_validation.model.model import use_tensor_cores
from simulate.rows.grid import Job, Outcome, attempt


def train_together(jobs: Sequence[Job], trainer: Trainer = train_one) -> list[Outcome]:
    """Run a job by that trainer, or several as one stack; a failed one leaves the others' outcomes.

    One thread per process where the environment says so, since jobs are what runs in parallel. Seconds of a stack are
    divided evenly among its jobs.
    """
    if os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(1)
    use_tensor_cores()
    began = time.perf_counter()
    outcomes = [attempt(jobs[0], trainer)] if len(jobs) == 1 else run_stacked([partial(attempt, job) for job in jobs])
    seconds = (time.perf_counter() - began) / len(jobs)
    return [outcome if isinstance(outcome, Exception) else (outcome[0], seconds) for outcome in outcomes]
