"""Commands on models and files of one's own.

    advise    what preferences and a model allow, and which method to use
    align     one method on a file of preferences;  align_methods  what RLHF and the Aligner need besides a loss
    correct   an Aligner, stacked on a model or on a file of answers
    generate  Best-of-N and Speculative Rejection on prompts of a file
    conform   what another loss does differently from ours
    compare   which verdicts differ between two folders of rows
    real      the claims on a model that others trained, and real people
    prompts   prompts of a file, and a model that answers them;  lines  answers written as they come

Examples
--------
>>> from llm_validation.__main__ import main
>>> main(["align", "--method", "dpo", "--model", "nowhere", "--data", "nowhere.jsonl", "--out", "nowhere"])
2
"""

__all__ = ()  # what is public stands on the page of llm_validation
