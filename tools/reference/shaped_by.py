"""Which settings are in the code version of which asset, found by changing one at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args, get_origin
from unittest.mock import patch

import dagster as dg
from pydantic import BaseModel

from dasd_assets.graph import BOXES
from dasd_assets.profile import Profile
from tools.reference.settings import Setting


def shaped_by(profile: Profile, settings: Iterable[Setting]) -> dict[Setting, frozenset[str]]:
    """Setting -> assets that another value of it makes stale by itself, or takes away.

    Where a mapping has no entry, or an optional section is not set, the whole of it is changed.
    """
    before = _versions(profile)
    shaped = {}
    for setting in settings:
        with warnings.catch_warnings():
            # Another value need not be of the setting's type.
            warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)
            after = _versions(_with_another(profile, setting))
        shaped[setting] = frozenset(name for name in before if before[name] != after.get(name))
    return shaped


def _versions(profile: Profile) -> dict[str, str | None]:
    """Asset -> code version."""
    # A definition takes ten times as long as its declaration, which is all that is looked at.
    with patch.object(dg, "asset", _declared):
        return {
            asset.key.to_user_string(): asset.code_version
            for box in BOXES
            for asset in box.build(profile)
        }


def _declared(
    *,
    key: list[str] | None = None,
    key_prefix: str | None = None,
    name: str | None = None,
    code_version: str,
    **others: Any,
) -> Callable[[Callable[..., Any]], dg.AssetSpec]:
    """Stands in for `@dg.asset`: an asset of which there is nothing but its key and version."""

    def decorate(function: Callable[..., Any]) -> dg.AssetSpec:
        path = [part for part in (key_prefix, name or function.__name__) if part]
        return dg.AssetSpec(key or path, code_version=code_version)

    return decorate


def _with_another(section: Any, setting: Setting) -> Any:
    """A section or mapping in which one setting has another value; nothing is validated."""
    name, below = setting[0], setting[1:]
    if isinstance(section, dict):
        if not section:
            return {"another": 1}
        name = next(iter(section))
        entry = section[name]
        return {**section, name: _with_another(entry, below) if below else _another(entry)}
    value = getattr(section, name)
    if below and isinstance(value, BaseModel | dict):
        new = _with_another(value, below)
    else:
        new = _another(value, type(section).model_fields[name].annotation)
    return section.model_copy(update={name: new})


def _another(value: Any, annotation: Any = None) -> Any:
    """Some other value, allowed where the definitions would not load with one that is not."""
    if get_origin(annotation) is Literal:
        return next(choice for choice in get_args(annotation) if choice != value)
    if value is None and {int, float} & set(get_args(annotation)):
        return 1
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, "another"]
    if isinstance(value, dict):
        return _with_another(value, ("any",))
    return "another"
