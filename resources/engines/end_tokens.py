"""Tokens that end an answer: tokenizer, chat template and generation settings each name some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resources.engines.model_files import ModelFolderError, read_json

GENERATION_SETTINGS = "generation_config.json"


def end_token_ids(configured: int | list[int] | None, tokenizer: Any) -> list[int]:
    """All tokens that the generation settings and the tokenizer name as the end, sorted.

    A student is taught to end with the tokenizer's, whatever its generation settings say.

    Raises:
        ModelFolderError: neither names one.
    """
    named = [*configured] if isinstance(configured, list) else [configured]
    ends = {one for one in (*named, tokenizer.eos_token_id) if one is not None}
    if not ends:
        raise ModelFolderError(
            f"{tokenizer.name_or_path}: neither generation_config.json nor the tokenizer names an "
            "end token (eos_token_id), so no answer would ever end"
        )
    return sorted(ends)


def name_end_token(generation_config: Any, tokenizer: Any) -> None:
    """See that the settings saved with a trained model name the token it was taught to end with."""
    ends = end_token_ids(generation_config.eos_token_id, tokenizer)
    before = generation_config.eos_token_id
    if set(ends) != set(before if isinstance(before, list) else [before]):
        generation_config.eos_token_id = ends


def check_trainable(tokenizer: Any) -> None:
    """Refuse a student that training, or saving what was trained, would fail at.

    Raises:
        ModelFolderError: its template ends a turn with another token than the tokenizer names, or
            transformers does not save its generation settings.
    """
    check_end_token(tokenizer)
    check_generation_settings(Path(tokenizer.name_or_path))


def check_turn_end(tokenizer: Any) -> None:
    """Refuse a model to be sampled whose template ends a turn with a token that ends no answer.

    Raises:
        ModelFolderError: neither tokenizer nor generation_config.json names that token.
    """
    after = _after_a_turn(tokenizer)
    added = {token.content: index for index, token in tokenizer.added_tokens_decoder.items()}
    found = next((text for text in sorted(added, key=len)[::-1] if after.startswith(text)), None)
    if found is None:  # some templates end a turn where the next begins
        return
    ends = end_token_ids(_named_ends(Path(tokenizer.name_or_path)), tokenizer)
    if added[found] not in ends:
        raise ModelFolderError(
            f"{tokenizer.name_or_path}: its chat template ends a turn with {found!r} (token "
            f"{added[found]}), and neither the tokenizer ({tokenizer.eos_token!r}) nor "
            f"{GENERATION_SETTINGS} names it as an end: an answer would not stop there. Add it to "
            f"eos_token_id in {GENERATION_SETTINGS}."
        )


def _named_ends(folder: Path) -> int | list[int] | None:
    """`eos_token_id` of the generation settings; None where there is none."""
    if not (folder / GENERATION_SETTINGS).is_file():
        return None
    found: int | list[int] | None = read_json(
        folder / GENERATION_SETTINGS, "Copy or download it again."
    ).get("eos_token_id")
    return found


def _after_a_turn(tokenizer: Any) -> str:
    """What the chat template writes behind an answer."""
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]
    conversation = str(tokenizer.apply_chat_template(turns, tokenize=False))
    return conversation.rpartition("answer")[2].lstrip()


def check_end_token(tokenizer: Any) -> None:
    """Refuse a tokenizer whose end token is not what its chat template ends a turn with.

    Raises:
        ModelFolderError: the student would be taught to stop with a token that nothing stops at.
    """
    if tokenizer.eos_token_id is None:
        raise ModelFolderError(
            f"{tokenizer.name_or_path}: the tokenizer has no end token (eos_token)"
        )
    after = _after_a_turn(tokenizer)
    if not after.startswith(tokenizer.eos_token):
        raise ModelFolderError(
            f"{tokenizer.name_or_path}: the tokenizer's end token is {tokenizer.eos_token!r}, but "
            f"its chat template ends a turn with {after[:40]!r}. Set eos_token in "
            "tokenizer_config.json to the template's."
        )


def check_generation_settings(folder: Path) -> None:
    """Refuse generation settings that transformers reads and does not write.

    Raises:
        ModelFolderError: naming what is wrong in them.
    """
    from transformers import GenerationConfig

    if not (folder / GENERATION_SETTINGS).is_file():
        return
    try:
        found = GenerationConfig.from_pretrained(folder, trust_remote_code=False)
        found.validate(strict=True)
    except (ValueError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ModelFolderError(
            f"{folder / GENERATION_SETTINGS}: a checkpoint could not be saved with it: {reason} "
            "Mend the file, or take it away: answers are sampled with the profile's settings."
        ) from error
