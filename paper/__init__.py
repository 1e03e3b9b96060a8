"""The paper: the ledger of claims, its tables, and the proofs of what is new.

    ledger  rows joined with the predictions of their checks, and the verdicts
    tables  one column per size of model
    latex   the ledger and the paper's tables and numbers as LaTeX
    markdown  the same for readers: one screen, and a file per topic

Examples
--------
>>> from paper.ledger import entries, lines
>>> from theory.claims import find_claim
>>> (line,) = lines(entries([find_claim("D3")], []))
>>> line.claim.id, line.verdict  # without rows nothing is said to agree
('D3', 'not run')
"""

__all__ = ()  # a command: python -m paper
