"""The one optimiser loop, and the device that it runs on.

    schedule    how long and how fast: warm-up, decay, clip, second moment, weight decay
    loop        AdamW, gradients, clipping, the guard against numbers that are none: every training calls it
    parts       which weights are trained: all, the last blocks, adapters of low rank
    memory      batches larger than the device's memory, in portions
    cuda_graph  forward and backward as one graph, compared with the module before it is used
    device      matrix and copy rates, measured; the share of them that a training uses
    sharing     one GPU, several processes: what is timed has it to itself

Examples
--------
>>> import torch
>>> from llm_validation.training.loop import minimise, of_loss
>>> from llm_validation.training.schedule import Schedule
>>> schedule = Schedule(steps=4, rate=0.1, warmup=2)
>>> [round(schedule.rate_at(step), 4) for step in range(4)]
[0.05, 0.1, 0.1, 0.0505]
"""

__all__ = ()  # what is public stands on the page of llm_validation
