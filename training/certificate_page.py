"""The certificate as a page: one file, no script, loss mask readable without colour."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from formats.pages import environment
from training.samples import NO_LOSS, Samples

TEMPLATES: Final = Path(__file__).parent / "templates"
SHOWN_CHARACTERS = 4_000
"""Of one run of tokens; a longer one is shown by its head and its tail."""

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)
"""Characters that show as nothing or turn the text around."""


def shown_sample(samples: Samples, index: int, tokenizer: Any) -> dict[str, Any]:
    """One sample for the certificate: its runs of masked and of trained tokens as text."""
    sample = samples[index]
    trained = sample.labels != NO_LOSS
    edges = [0, *(np.flatnonzero(np.diff(trained)) + 1).tolist(), len(trained)]
    file, row = samples.place(index)
    runs = [
        {
            "trained": bool(trained[start]),
            "first_position": start,
            "last_position": end - 1,
            "text": tokenizer.decode(
                sample.input_ids[start:end], clean_up_tokenization_spaces=False
            ),
        }
        for start, end in pairwise(edges)
        if end > start
    ]
    return {
        "file": file.name,
        "row": row,
        "weight": sample.weight,
        "tokens": len(sample),
        "trained_tokens": int(trained.sum()),
        "end_token": tokenizer.decode(sample.input_ids[-1:]),
        "end_token_trained": bool(trained[-1] and sample.input_ids[-1] == tokenizer.eos_token_id),
        "masked": "".join(run["text"] for run in runs if not run["trained"]),
        "trained": "".join(run["text"] for run in runs if run["trained"]),
        "runs": runs,
    }


def render(certificate: Mapping[str, Any]) -> str:
    """The page as HTML text; what samples say is text, and is escaped."""
    pages = environment(TEMPLATES)
    pages.filters["visible"] = visible
    return pages.get_template("certificate.html.j2").render(certificate=certificate)


def visible(text: str) -> str:
    """Text with unseen characters written out, and its middle left out if it is long."""
    if len(text) > SHOWN_CHARACTERS:
        half = SHOWN_CHARACTERS // 2
        left_out = len(text) - 2 * half
        text = f"{text[:half]}\n[… {left_out:,} characters are not shown …]\n{text[-half:]}"
    return _UNSEEN.sub(lambda match: f"[U+{ord(match.group()):04X}]", text)
