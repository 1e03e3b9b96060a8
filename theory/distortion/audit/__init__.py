"""The audit: a certified interval for the worst distortion behind observed win rates.

    interval  the audit itself;  progress  its bounds as they close in
    observed  win rates, or counts with their confidence box;  averages  what win rates say of average utilities
    types     candidate user types, a linear program over them;  columns  search for the type that hurts most
    boxes     branch and bound over boxes of types;  ball  policies in a KL ball
    questions which pair to ask users about next

Examples
--------
>>> result = audit([[0.5, 0.8], [0.2, 0.5]], policy=[0.5, 0.5], bt_beta=5.0)
>>> round(result.lower, 2) <= round(result.upper, 2)
True
"""

from __future__ import annotations

from theory.distortion.audit.interval import audit
from theory.distortion.audit.progress import Audit
from theory.distortion.audit.questions import Question, next_questions

__all__ = ["Audit", "Question", "audit", "next_questions"]
