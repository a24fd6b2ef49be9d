"""`dasd export`: the training sets for another trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dasd_assets.cli.exits import refusing
from dasd_assets.profile import Profile, ProfileError
from dasd_assets.profile.home import active_profile
from dasd_assets.release.library import Library

HINTS = {
    Library.TRL: "load_dataset('parquet', data_files='FILE', split='train') for SFTTrainer",
    Library.AXOLOTL: "paste datasets.yaml into your configuration; one data set a run, in order",
    Library.LLAMA_FACTORY: "dataset_dir: FOLDER, dataset: STAGE, mask_history: true",
    Library.MS_SWIFT: "swift sft --dataset FILE",
}


def export(
    library: Annotated[Library, typer.Argument(help="Who is to read them.")],
    folder: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    logprobs: Annotated[
        bool,
        typer.Option(
            "--logprobs",
            help="The teacher's tokens and logprobs too (stages 1 and 2), and the likeliest tokens "
            "of each position where teacher_responses.top_logprobs asked for them.",
        ),
    ] = False,
) -> None:
    """Write the training sets of the stages as Parquet files for TRL, axolotl, LLaMA-Factory or
    ms-swift.

    One file a stage, in the order of the stages. What the profile's training weighs, `weight` says;
    none of these trainers reads it by itself.
    """
    from dasd_assets.profile.open_lake import open_lake
    from dasd_assets.release import exporting
    from resources.lake.table import ContractError

    with refusing(ProfileError, exporting.ExportError, ContractError, OSError):
        profile = active_profile()
        for one in exporting.export(
            open_lake(profile), profile, folder, library, logprobs=logprobs
        ):
            known = ", with the teacher's logprobs" if one.has_logprobs else ""
            typer.echo(f"{one.file}: {one.n_rows:,} rows{known}")
    typer.echo(f"  {HINTS[library]}")
    if logprobs and profile.teacher_responses.top_logprobs and profile.answerers:
        typer.echo(f"  {_whose_ids(profile)}")


def _whose_ids(profile: Profile) -> str:
    """Whether a student can be trained on the likeliest tokens by their ids."""
    from dasd_assets.release.likely_tokens import of_another_vocabulary

    if others := of_another_vocabulary(profile):
        return (
            f"teacher_top_token_ids are ids of {', '.join(others)}, and base_student has another "
            "vocabulary: a loss that looks them up in the student's distribution would compare "
            "other tokens. teacher_tokens.parquet says what each spells"
        )
    return "teacher_top_token_ids are ids of base_student too: both tokenizers spell them alike"
