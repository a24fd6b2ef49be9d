"""What ends an answer, where tokenizer, template and generation settings name different tokens."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resources.engines.end_tokens import (
    check_end_token,
    check_generation_settings,
    end_token_ids,
    name_end_token,
)
from resources.engines.model_files import ModelFolderError


def tokenizer(eos: int | None, name: str = "</s>", template_ends: str = "</s>") -> Any:
    def apply_chat_template(turns: list[dict[str, str]], tokenize: bool) -> str:
        return "".join(f"<{turn['role']}>{turn['content']}{template_ends}\n" for turn in turns)

    return SimpleNamespace(
        eos_token_id=eos, eos_token=name, name_or_path="m", apply_chat_template=apply_chat_template
    )


@pytest.mark.parametrize(
    ("configured", "eos", "ends"),
    [(None, 2, [2]), (2, 2, [2]), (1, 2, [1, 2]), ([7, 1], 2, [1, 2, 7]), ([2, 1], 2, [1, 2]),
     (5, None, [5])],
)  # fmt: skip
def test_all_that_are_named_end_an_answer(
    configured: int | list[int] | None, eos: int | None, ends: list[int]
) -> None:
    assert end_token_ids(configured, tokenizer(eos)) == ends


def test_without_any_no_answer_would_end() -> None:
    with pytest.raises(ModelFolderError, match="no answer would ever end"):
        end_token_ids(None, tokenizer(None))


@pytest.mark.parametrize(
    ("before", "after"), [(2, 2), ([2, 1], [2, 1]), (1, [1, 2]), (None, [2]), ([1], [1, 2])]
)
def test_a_trained_model_names_what_it_was_taught_to_end_with(before: Any, after: Any) -> None:
    settings = SimpleNamespace(eos_token_id=before)
    name_end_token(settings, tokenizer(2))
    assert settings.eos_token_id == after


def test_a_template_that_ends_a_turn_otherwise_is_told() -> None:
    check_end_token(tokenizer(2))
    with pytest.raises(ModelFolderError, match=r"ends a turn with '<.im_end.>.*Set eos_token"):
        check_end_token(tokenizer(2, template_ends="<|im_end|>"))
    with pytest.raises(ModelFolderError, match="has no end token"):
        check_end_token(tokenizer(None))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"do_sample": False, "temperature": 0.9}, "`temperature` is set to `0.9`"),
        ({"top_p": 0.5}, "top_p"),
        ({"max_new_tokens": -1}, "max_new_tokens"),
        ({"do_sample": True, "temperature": 0.9, "eos_token_id": [1, 2]}, None),
        ({}, None),
    ],
)
def test_settings_that_could_not_be_saved(
    tmp_path: Path, content: dict[str, Any], said: str | None
) -> None:
    check_generation_settings(tmp_path)  # there need be none
    (tmp_path / "generation_config.json").write_text(json.dumps(content))
    if said is None:
        check_generation_settings(tmp_path)
        return
    with pytest.raises(ModelFolderError, match=f"could not be saved with it.*{said}"):
        check_generation_settings(tmp_path)
