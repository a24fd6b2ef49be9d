"""`dasd pull`: what the profile names on the Hugging Face hub comes onto this machine."""

from __future__ import annotations

from pathlib import Path

import typer

from dasd_assets.cli.exits import refusing
from dasd_assets.profile import Profile, ProfileError
from dasd_assets.profile.home import active_profile
from dasd_assets.profile.models import Model
from resources.hub import DATASETS, HubError, parse_address, pull_dataset, pull_model


def pull() -> None:
    """Download the profile's models and evaluation sets into the local hub cache, with progress.

    What is there already is not fetched again, and what was interrupted goes on. Of a teacher
    behind an API only the tokenizer is fetched. Folders of this machine are left alone.
    """
    with refusing(ProfileError, HubError):
        profile = active_profile()
        n = 0
        for (name, revision), weights in models_on_the_hub(profile).items():
            n += 1
            at = f" at {revision}" if revision else ""
            typer.echo(f"{name}{at}{'' if weights else ' (no weights)'}")
            typer.echo(f"  {pull_model(name, revision, weights=weights)}")
        for benchmark in profile.evaluation.benchmarks.values():
            if benchmark.path.startswith(DATASETS):
                n += 1
                typer.echo(benchmark.path)
                place = pull_dataset(parse_address(benchmark.path), [benchmark.files])
                typer.echo(f"  {place}")
    if not n:
        typer.echo("the profile names nothing on the hub: models and evaluation sets are folders")


def models_on_the_hub(profile: Profile) -> dict[tuple[str, str | None], bool]:
    """(Hub id, revision) of each model that is no folder -> whether its weights are needed."""
    from resources.engines.settings import WITHOUT_WEIGHTS

    models = [*profile.answerers.values(), profile.base_student, *profile.students.values()]
    needed: dict[tuple[str, str | None], bool] = {}
    for model in models:
        place = (model.location, model.revision)
        has_weights = model.engine.kind not in WITHOUT_WEIGHTS
        needed[place] = needed.get(place, False) or has_weights
    for answers in profile.imports.values():
        if answers.model:
            needed.setdefault((Model(path=answers.model).location, None), False)
    return {place: weights for place, weights in needed.items() if not Path(place[0]).is_dir()}
