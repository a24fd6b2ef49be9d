"""Reading a profile, and saying what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import ValidationError

from dasd_assets.profile.models import PROFILE_FOLDER, PROJECT_ROOT, TINY_WORLD, Model
from dasd_assets.profile.profile import Profile
from dasd_assets.profile.questions import Layout
from dasd_assets.profile.yaml_file import Only, parse_yaml

BASE = "base"
"""Key of a profile that names the one whose settings it has where it says nothing else."""
SECRET_KEYS = frozenset({"base_url", "base_urls", "api_key_env"})
"""Settings whose bad value may hold a key or a password: it is not shown."""


class ProfileError(ValueError):
    """A profile that cannot be used; the message names file, key, value and what is allowed."""


M = TypeVar("M", bound=Model)


def load_profile(name_or_path: str) -> Profile:
    """Read and validate a profile by shipped name or by the path of a YAML file.

    Raises:
        ProfileError: no such profile, no valid YAML, a setting that is unknown or not allowed, or
            profiles that are each other's `base`.
    """
    file, settings = _read(name_or_path, Path(), ())
    try:
        profile = Profile.model_validate(settings)
    except ValidationError as error:
        raise ProfileError(_explain(file, error)) from error
    folder = file.resolve().parent
    return profile if folder in (PROFILE_FOLDER, PROJECT_ROOT) else _at_home(profile, folder)


def _read(name_or_path: str, beside: Path, above: tuple[Path, ...]) -> tuple[Path, dict[str, Any]]:
    """A profile's file and its settings, with those of its `base` where it says nothing else.

    Args:
        beside: folder that a relative path starts from.
        above: files whose base this one is.
    """
    is_path = name_or_path.endswith((".yaml", ".yml")) or os.sep in name_or_path
    file = beside / name_or_path if is_path else PROFILE_FOLDER / f"{name_or_path}.yaml"
    if not file.is_file():
        shipped = sorted(path.stem for path in PROFILE_FOLDER.glob("*.yaml"))
        raise ProfileError(
            f"{name_or_path}: no such profile{', the base of ' if above else ''}"
            f"{', of '.join(map(str, reversed(above)))}. Shipped profiles: {', '.join(shipped)}; "
            "your own is named by the path of its YAML file."
        )
    if file.resolve() in above:
        raise ProfileError(f"{file}: is its own `base`: {' -> '.join(map(str, above))}")
    try:
        settings = parse_yaml(file.read_text(encoding="utf-8"))
    except ValueError as error:  # also of text that is no UTF-8
        raise ProfileError(f"{file}: no valid YAML: {error}") from error
    if not isinstance(settings, dict):
        raise ProfileError(
            f"{file}: expected a mapping of sections, found {type(settings).__name__}"
        )
    base = settings.pop(BASE, None)
    if base is None:
        return file, settings
    if not isinstance(base, str):
        raise ProfileError(f"{file}: {BASE} must name a profile, found {base!r}")
    _, inherited = _read(base, file.parent, (*above, file.resolve()))
    return file, _changed(inherited, settings)


def _changed(settings: Any, changes: Any) -> Any:
    """Settings with changes: mappings key by key, all else whole, as also what is `!only`.

    A section of another `kind` has other keys and takes the place of the whole one.
    """
    both = isinstance(settings, dict) and isinstance(changes, dict)
    if (
        not both
        or isinstance(changes, Only)
        or changes.get("kind") not in (None, settings.get("kind"))
    ):
        return changes
    return settings | {key: _changed(settings.get(key), new) for key, new in changes.items()}


def _at_home(profile: Profile, folder: Path) -> Profile:
    """A user's own profile: its relative paths are relative to its folder.

    `tiny_world/…`, which the project ships, is the project's unless the folder has one, so that a
    copy of `tiny` goes on working.
    """

    def beside(path: str) -> str:
        here = folder / path
        is_shipped = path.startswith(f"{TINY_WORLD}/") and not here.exists()
        return path if is_shipped or "://" in path else str(here)

    def model(settings: M) -> M:
        is_folder = (folder / settings.path).exists()  # else the id of one in the hub cache
        path = beside(settings.path) if is_folder else settings.path
        return settings.model_copy(update={"path": path})

    benchmarks = {
        name: benchmark.model_copy(update={"path": beside(benchmark.path)})
        for name, benchmark in profile.evaluation.benchmarks.items()
    }

    def written_by(layout: Layout) -> Layout:
        answers = layout.answers
        if answers is None or answers.model is None or not (folder / answers.model).exists():
            return layout
        update = {"model": beside(answers.model)}
        return layout.model_copy(update={"answers": answers.model_copy(update=update)})

    questions = {
        "inbox": beside(profile.questions.inbox),
        "layouts": {name: written_by(each) for name, each in profile.questions.layouts.items()},
    }
    licence = profile.release.license_file
    placed = profile.model_copy(
        update={
            "lake": beside(profile.lake) if profile.lake else None,
            "teacher": profile.teacher and model(profile.teacher),
            "teachers": {name: model(teacher) for name, teacher in profile.teachers.items()},
            "base_student": model(profile.base_student),
            "students": {name: model(student) for name, student in profile.students.items()},
            "questions": profile.questions.model_copy(update=questions),
            "evaluation": profile.evaluation.model_copy(update={"benchmarks": benchmarks}),
            "release": profile.release.model_copy(
                update={"license_file": beside(licence) if licence else None}
            ),
        }
    )
    placed._folder = folder
    return placed


def _explain(file: Path, error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "(whole profile)"
        if problem["type"] == "extra_forbidden":
            allowed = ", ".join(sorted(_section_at(problem["loc"][:-1]).model_fields))
            problems.append(f"{key}: unknown key. Allowed here: {allowed}")
        elif problem["type"] == "union_tag_not_found":
            kinds = ", ".join(map(_kind, get_args(_section_at(problem["loc"]))))
            problems.append(f"{key}.kind: required, but missing. One of: {kinds}")
        elif problem["type"] == "missing":
            problems.append(f"{key}: required, but missing")
        elif isinstance(problem["input"], dict) or SECRET_KEYS.intersection(problem["loc"]):
            problems.append(f"{key}: {problem['msg']}")
        else:
            problems.append(f"{key}: {problem['msg']}; found {problem['input']!r}")
    return f"{file}: {len(problems)} setting(s) cannot be used:\n" + "\n".join(
        f"  - {problem}" for problem in problems
    )


def _section_at(location: tuple[int | str, ...]) -> Any:
    """The section at a location of the profile, of several kinds their union."""
    section: Any = Profile
    for part in location:
        fields = getattr(section, "model_fields", {})
        kinds = [one for one in get_args(section) if _kind(one) == part]
        # A key of a mapping such as evaluation.benchmarks: step to the mapping's values.
        inside = kinds[0] if kinds else None
        section = fields[part].annotation if part in fields else inside or get_args(section)[-1]
        if get_origin(section) is Annotated:
            section = get_args(section)[0]
        if type(None) in get_args(section):  # a section that may be left out
            section = get_args(section)[0]
    return section


def _kind(section: Any) -> Any:
    """The kind of a section that is one of several."""
    field = getattr(section, "model_fields", {}).get("kind")
    return field and field.default
