"""Base models: pretrained on the generated language or on text, with exact resume.

    config      one frozen record per size: context, batch, steps, schedule
    pretrain    from text to a base model in a folder; base_model finds or makes it
    loop        the optimiser loop's batches, checkpoints and evaluations
    held_out    loss on text that was not read: nats per story against the entropy, bits per byte
    report      learning curve, samples judged by the grammar, kept with the rows

Examples
--------
>>> from llm_validation.pretraining.config import PRESETS
>>> PRESETS["tiny"].tokens > PRESETS["smoke"].tokens
True
"""

__all__ = ()  # what is public stands on the page of llm_validation
