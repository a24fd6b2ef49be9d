"""The page of all settings of a profile."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from dasd_assets.profile import Profile
from dasd_assets.profile.check_settings import ChecksSection
from formats.pages import markdown_table
from tools.reference.markdown import codes, page

Setting = tuple[str, ...]
"""Keys of a setting from the profile's root."""
Shaped = Mapping[Setting, frozenset[str]]
"""Setting -> assets that have it in their code version."""

ENTRY = "<name>"
INTRODUCTION = """\
A profile is one YAML file; a setting's name here is its path in it: `questions.inbox` is `inbox` in
the section `questions`, and `<name>` stands for a name of your choice. An unknown key, a value that
is not allowed, and settings that contradict each other are errors that name file, key and value.
[The shipped profiles](../../dasd_assets/profiles) are commented examples.

**Makes stale** names the assets that have the setting in their code version: after a change,
`dasd run` makes all of their partitions again. What is below them follows only where the data came
out different ([What makes data stale](../../ARCHITECTURE.md#what-makes-data-stale))."""
WHOLE_PROFILE = "show the whole profile: any change makes them stale, and no line repeats them."


@dataclass(frozen=True)
class Group:
    """Settings that stand together.

    Attributes:
        path: keys from the profile's root; None for one of several kinds of a section.
        title: heading on the page.
        model: the section's class; None if its settings stand on another page.
        description: what the section is.
    """

    path: Setting | None
    title: str
    model: type[BaseModel] | None
    description: str

    @property
    def leaves(self) -> list[str]:
        """Fields that get a line: those that are no section themselves, or one of several kinds."""
        fields = self.model.model_fields if self.model else {}
        return [
            name
            for name, field in fields.items()
            if all("kind" in one.model_fields for _, one in _sections(field.annotation))
        ]


def groups() -> list[Group]:
    """All sections of a profile, each before those inside it."""
    return list(_groups(Profile, (), "", set()))


def setting_paths() -> list[Setting]:
    """Paths of all settings, but those inside of one kind of a section."""
    return [(*one.path, name) for one in groups() if one.path is not None for name in one.leaves]


def shape_all(shaped: Shaped) -> frozenset[str]:
    """Assets that every setting shapes: they show the profile."""
    return frozenset.intersection(*shaped.values())


def settings_page(shaped: Shaped) -> str:
    """Every setting: type, default, what is allowed, what it is, what a change makes stale."""
    always = shape_all(shaped)
    parts = [INTRODUCTION, f"{codes(sorted(always))} {WHOLE_PROFILE}"]
    for group in groups():
        parts += [f"## {group.title}", _sentence(group.description)]
        header = ["setting", "type", "default", "allowed", "what it is"]
        rows = _rows(group)
        if group.path is not None:
            header.append("makes stale")
            stale = (shaped[(*group.path, name)] - always for name in group.leaves)
            rows = [[*row, codes(sorted(assets))] for row, assets in zip(rows, stale, strict=True)]
        parts += [markdown_table(header, rows)] if rows else []
    return page("Settings", *parts)


def _groups(
    model: type[BaseModel], path: Setting, description: str, kinds: set[type]
) -> Iterator[Group]:
    title = ".".join(path) or "The profile itself"
    if issubclass(model, ChecksSection):
        yield Group(path, title, None, f"{description}. [All of them](checks.md).")
        return
    yield Group(path, title, model, description or inspect.getdoc(model) or "")
    for name, field in model.model_fields.items():
        for key, section in _sections(field.annotation):
            kind = section.model_fields.get("kind")
            if kind is None:
                yield from _groups(section, (*path, name, *key), field.description or "", kinds)
            elif section not in kinds:
                kinds.add(section)
                said = inspect.getdoc(section) or ""
                yield Group(None, f"{name} of kind {kind.default}", section, said)


def _sections(annotation: Any) -> Iterator[tuple[Setting, type[BaseModel]]]:
    """Sections that a field holds: itself one, one of several kinds, or a mapping to them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield (), annotation
    elif get_origin(annotation) in (Union, UnionType):
        for choice in get_args(annotation):
            yield from _sections(choice)
    elif get_origin(annotation) is Annotated:
        yield from _sections(get_args(annotation)[0])
    elif get_origin(annotation) is dict:
        for key, section in _sections(get_args(annotation)[1]):
            yield (ENTRY, *key), section


def _rows(group: Group) -> list[list[str]]:
    """Name, type, default, what is allowed and description of each setting."""
    if group.model is None:
        return []
    told = group.model.model_json_schema()["properties"]
    rows = []
    for name in group.leaves:
        field = group.model.model_fields[name]
        default = field.get_default(call_default_factory=True, validated_data={})
        rows.append(
            [
                f"`{name}`",
                _type(told[name]),
                _default(default),
                _allowed(told[name]),
                _sentence(field.description or ""),
            ]
        )
    return rows


_WORDS = {
    "integer": "whole number", "number": "number", "string": "text", "boolean": "yes or no",
    "null": "null",
}  # fmt: skip
_BOUNDS = {
    "minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
    "minItems": "at least {} entries", "pattern": "matches `{}`",
}  # fmt: skip


def _type(schema: dict[str, Any]) -> str:
    """A JSON schema's type in words."""
    if "discriminator" in schema:
        return "section"
    if either := _either(schema):
        return " or ".join(_type(choice) for choice in either)
    if _choices(schema):
        return "word" if isinstance(_choices(schema)[0], str) else "number"
    kind = schema.get("type")
    if kind == "array":
        return f"list: {_type(schema.get('items') or schema['prefixItems'][0])}"
    if kind == "object":
        inside = schema.get("additionalProperties")
        return f"name → {_type(inside)}" if isinstance(inside, dict) else "mapping"
    return "date" if schema.get("format") == "date" else _WORDS[str(kind)]


def _allowed(schema: dict[str, Any]) -> str:
    """A JSON schema's choices and bounds, those of what is inside with them."""
    if "discriminator" in schema:
        return "kind: " + codes(schema["discriminator"]["mapping"])
    if _choices(schema):
        return codes(map(str, _choices(schema)))
    said = [words.format(schema[key]) for key, words in _BOUNDS.items() if key in schema]
    inside = [schema.get("items"), schema.get("additionalProperties"), *_either(schema)]
    said += [_allowed(part) for part in inside if isinstance(part, dict)]
    return ", ".join(dict.fromkeys(part for part in said if part))


def _either(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return schema.get("anyOf") or schema.get("oneOf") or []


def _choices(schema: dict[str, Any]) -> list[Any]:
    return schema.get("enum") or ([schema["const"]] if "const" in schema else [])


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    plain = to_jsonable_python(value, exclude_none=True)
    return f"`{json.dumps(plain, ensure_ascii=False)}`"


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    first = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if first.islower() else text  # vLLM keeps its letters
