"""The audit: a certified interval for the worst distortion behind observed win rates."""

from __future__ import annotations

from theory.distortion.audit.interval import audit
from theory.distortion.audit.progress import Audit

__all__ = ["Audit", "audit"]
