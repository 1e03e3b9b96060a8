"""Commands on models and files of one's own.

    align     one method on a file of preferences
    correct   an Aligner, stacked on a model or on a file of answers
    generate  Best-of-N and Speculative Rejection on prompts of a file
    conform   what another loss does differently from ours
    compare   which verdicts differ between two folders of rows

Examples
--------
>>> from llm_validation.__main__ import main
>>> main(["align", "--method", "dpo", "--model", "nowhere", "--data", "nowhere.jsonl", "--out", "nowhere"])
2
"""

__all__ = ()  # what is public stands on the page of llm_validation
