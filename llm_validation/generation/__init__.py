"""Open generation: one decoding engine for Best-of-N and Speculative Rejection.

    decode    the two methods, and what a generation returns and costs
    engine    rows of one batch, written token by token; decisions; memory
    cache     keys and values that rows share, reorder and drop
    scorers   reward models as functions of texts or of growing prefixes
    stops     stop strings
    pilot     what a measured v(t) would have allowed Speculative Rejection
    checks    which models can write and score from a cache
    quantiles tokens from logits and quantiles
    uniforms  the random numbers: u(seed, prompt, position, row), whatever else is generated

Examples
--------
>>> from llm_validation.generation.uniforms import uniforms
>>> table = uniforms(0, prompts=[3, 5], position=7, n=4)
>>> bool((uniforms(0, prompts=[5], position=7, n=2) == table[1:, :2]).all())
True
"""

__all__ = ()  # what is public stands on the page of llm_validation
