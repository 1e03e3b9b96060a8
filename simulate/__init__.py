"""Checks by Monte Carlo, adversarial search and certified programs: one result row per claim, setting and seed."""
