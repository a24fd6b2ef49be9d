"""Files of a model folder: read as JSON, and none of them a program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CODE_KEYS = frozenset({"auto_map", "custom_pipelines"})
"""Keys of a configuration that name Python code of the folder or of another one."""


class ModelFolderError(ValueError):
    """A model that cannot be used; the message says what was found and what to do."""


def read_json(file: Path, advice: str) -> dict[str, Any]:
    """A file that has to be a JSON object.

    Raises:
        ModelFolderError: it is missing, or something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderError(f"{file.parent}: {file.name} is missing. {advice}") from None
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{file}: no valid JSON ({error}). {advice}") from error
    if not isinstance(content, dict):
        raise ModelFolderError(f"{file}: expected a JSON object. {advice}")
    return content


def refuse_code(path: Path) -> None:
    """Refuse a model that brings code of its own: whoever loads it would run what they were given.

    Raises:
        ModelFolderError: naming the file.
    """
    programs = sorted(file.relative_to(path).as_posix() for file in path.rglob("*.py"))
    found = f"has {programs[0]}" if programs else ""
    for file in sorted(path.glob("*config*.json")):
        if keys := CODE_KEYS & _keys(read_json(file, "Copy or download it again.")):
            found = f"names code in {file.name} ({', '.join(sorted(keys))})"
    if found:
        raise ModelFolderError(
            f"{path}: the model {found}, and code that comes with a model is not run here. If "
            "transformers has its architecture, take the *.py files away and delete the key; else "
            "use another model."
        )


def _keys(content: dict[str, Any]) -> set[str]:
    """Keys of a configuration and of the objects in it."""
    found, waiting = set[str](), [content]
    while waiting:
        one = waiting.pop()
        found |= one.keys()
        waiting += [value for value in one.values() if isinstance(value, dict)]
    return found
