"""Causal language models: ours at one size dial, or any that transformers reads.

    model       sizes, building, loading and saving; the device and its precision
    fetch       models that others trained, brought here once
    folders     folders that hold a model: written as a whole or not at all
    checks      what was loaded is the whole model, and causal
    content     a model by its content: a digest of its files
    text_boundaries   where a text begins and ends
    checkpoint  exact state of a training that is to go on
    sharding    one model divided among processes (FSDP2)

Examples
--------
>>> from llm_validation.model.model import SIZES, build, parameter_count
>>> list(SIZES)
['smoke', 'micro', 'tiny', 'mini', 'small', 'base']
>>> parameter_count(build("smoke", vocab_size=64, context=16, seed=0)) < 100_000
True
"""

__all__ = ()  # what is public stands on the page of llm_validation
