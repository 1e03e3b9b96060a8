"""Settings that claims on distortion, the commands and the figures share."""

from __future__ import annotations

#: Slopes of the Bradley–Terry model at which factors are compared.
BETAS = (1.0, 2.0, 5.0, 10.0, 20.0)
