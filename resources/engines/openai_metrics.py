"""Tokens that a vLLM server has sampled so far, of answers that are not finished too."""

from __future__ import annotations

import re

SAMPLED = re.compile(r"^vllm:generation_tokens_total(?:\{[^\n]*\})? +([0-9.e+]+)\s*$", re.MULTILINE)


def tokens_sampled(metrics: str) -> int | None:
    """The sum over all engines of a server; None where its metrics do not have it.

    Args:
        metrics: what `/metrics` answers, in the text format of Prometheus.
    """
    try:
        values = [float(value) for value in SAMPLED.findall(metrics)]
        return int(sum(values)) if values else None
    except (ValueError, OverflowError):
        return None
