"""Predictions: closed forms, certified convex programs, and the claims that rest on them.

Deterministic float64 numpy and scipy (cvxpy where it is an oracle); nothing here draws a random number or imports
torch.
"""
