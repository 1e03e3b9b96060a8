"""The paper: the ledger of claims, its tables, and the proofs of what is new."""
