"""Whether the teacher's answers can be read, told by its tokenizer before anything is asked."""

from __future__ import annotations

import json

from formats.harmony import MARKS
from resources.engines.model_folder import ModelFolder, ModelFolderError


def require_harmony(teacher: ModelFolder) -> None:
    """Refuse a teacher whose tokenizer lacks a mark of Harmony: no answer of it would be kept.

    Raises:
        ModelFolderError: naming the tokens that are missing.
    """
    content = json.loads((teacher.path / "tokenizer.json").read_text(encoding="utf-8"))
    added = {token["content"] for token in content.get("added_tokens", [])}
    if missing := [mark for mark in MARKS if mark not in added]:
        raise ModelFolderError(
            f"{teacher.path}: the teacher's tokenizer has no token {', '.join(missing)}, so its "
            "answers are not in Harmony (gpt-oss), the only format of a teacher that is read; one "
            "that writes <think> in plain text cannot be used yet. Nothing was asked. Set "
            "teacher.path to a model that speaks Harmony."
        )
