"""Figures: theory a line, simulation filled points, trained models open points. Nothing here samples or trains.

    distortion, proximal, divergences, density_ratio, correction, best_of_n   one file a topic, ending in its `FIGURES`
    distortion_few   of distortion, those of few alternatives, small regimes and population-proportional policies
    overview      every claim in one figure: how far measurements lie from predictions
    real_model    where DPO moves each response of a model that others trained, and what its early tokens show
    sizes         does a prediction hold better or worse as the model grows?
    model_points  rows of trained models, pooled over seeds
    style         looks, axes, and how a row becomes a point
    layout        where panels, legends and text stand, at any width

Examples
--------
>>> from figures.distortion import FIGURES
>>> FIGURES["distortion_factors"].claims
('D3', 'D4', 'D5', 'D6', 'D7', 'D8', 'D9')
"""

import theory.command  # noqa: F401 (before what may be missing)

__all__ = ()  # a command: python -m figures
