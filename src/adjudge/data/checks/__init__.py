"""The table of checks. A new check is a function in one of these files (or a new one), listed in its `CHECKS`."""

from __future__ import annotations

from adjudge.data.checks import labels, line_breaks, near, repeats, sampled, texts, unknown, variants
from adjudge.data.checks.contract import Check

CHECKS: tuple[Check, ...] = (
    *texts.CHECKS,
    *line_breaks.CHECKS,
    *labels.CHECKS,
    *variants.CHECKS,
    *repeats.CHECKS,
    *near.CHECKS,
    *unknown.CHECKS,
    *sampled.CHECKS,
)
"""Every check, in the order in which they run: quick ones first."""
