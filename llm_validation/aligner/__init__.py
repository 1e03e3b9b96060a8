"""The Aligner: a small model that learns corrections, on an edit process of known entropy.

    edit_process  answers with slots, upstream laws, and the kernel that corrects them
    aligner       training on (prompt, answer, correction), exact laws of the trained model, stacking
    texts         the Aligner on texts of a user's own: files of corrections, and what is trained on them

Examples
--------
>>> from llm_validation.aligner.edit_process import product_kernel
>>> kernel = product_kernel()
>>> kernel.shape, bool((abs(kernel.sum(axis=1) - 1.0) < 1e-12).all())
((16, 16), True)
"""

__all__ = ()  # what is public stands on the page of llm_validation
