"""Predictions: closed forms, certified convex programs, and the claims that rest on them.

Deterministic float64 numpy, scipy and cvxpy; nothing here draws a random number or imports torch.
"""
