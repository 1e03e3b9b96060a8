"""Figures: curves from theory/, points from result rows. Nothing here samples or trains."""
