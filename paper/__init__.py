"""The paper: the ledger of claims, its tables, and the proofs of what is new.

    ledger  rows joined with the predictions of their checks, and the verdicts
    tables  one column per size of model
    latex   the ledger and the paper's tables and numbers as LaTeX
    markdown  the same for readers: one screen, and a file per topic
    power     how many settings of every check notice a prediction that is off
    spending  where the time of a run goes, and how precise it is there
    arxiv     the paper's sources as one flat folder
    page      the page in HTML, a package;  lessons  notebooks for a class, another

Examples
--------
>>> from paper.ledger import entries, lines
>>> from theory.claims import find_claim
>>> (line,) = lines(entries([find_claim("D3")], []))
>>> line.claim.id, line.verdict  # without rows nothing is said to agree
('D3', 'not run')
"""

import theory.command  # noqa: F401 (before what may be missing)

__all__ = ()  # a command: python -m paper
