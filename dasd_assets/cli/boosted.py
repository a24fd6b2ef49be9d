"""`dasd boosted`: Boosted Sentences of a finished pipeline, for analysis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import pyarrow as pa
import pyarrow.compute as pc
import typer

from dasd_assets.cli.exits import refusing
from dasd_assets.profile import Profile, ProfileError
from dasd_assets.profile.home import active_profile

if TYPE_CHECKING:
    from resources.lake.lake import Lake


def boosted(
    temperature: Annotated[str, typer.Option(help="Temperature partition.")] = "high",
    checkpoint: Annotated[
        str, typer.Option(help="Third judge: low_temperature, high_temperature or dasd.")
    ] = "dasd",
    answers: Annotated[int, typer.Option(min=1, help="Answers per shard that are scored.")] = 200,
) -> None:
    """Score answers with a trained checkpoint and say which sentences it boosted.

    A Boosted Sentence is one that teacher and base student find equally likely and the checkpoint
    does not. The rows become the lake's table `boosted_sentences`, for `dasd sql`.
    """
    from dasd_assets.profile.open_lake import open_lake
    from resources.engines.model_folder import ModelFolderError
    from resources.lake.table import ContractError

    with refusing(ProfileError, ContractError, ModelFolderError, OSError):
        profile = active_profile()
        lake = open_lake(profile)
        rows = _judged(profile, lake, temperature, checkpoint, answers)
        partition = {"checkpoint": checkpoint, "temperature": temperature}
        written = lake.write("boosted_sentences", rows, partition)
    counts = Counter(rows["sentence_class"].to_pylist())
    for kind, count in counts.most_common():
        typer.echo(f"{kind:10}{count:>10,}{count / rows.num_rows:>8.1%}")
    typer.echo(f"\nrows: {written.uri}")


def _judged(
    profile: Profile, lake: Lake, temperature: str, checkpoint: str, n_answers: int
) -> pa.Table:
    """Sentences of the first answers of every shard, with the checkpoint's view.

    Raises:
        ContractError: there is no such checkpoint or no provenance, or the two do not match.
    """
    from dasd_assets.divergence_sampling.boosted import boosted_sentences
    from dasd_assets.divergence_sampling.provenance import FILTERED_COLUMNS
    from dasd_assets.divergence_sampling.sentences import segmenter_named
    from dasd_assets.divergence_sampling.student_scoring import TEXT_COLUMNS, score_responses
    from dasd_assets.graph import inference_model
    from resources.lake.table import ContractError
    from resources.lake.tables.divergence_sampling import BOOSTED_SENTENCES

    cells = lake.partitions("sentence_provenance", temperature=temperature)
    if not cells:
        raise ContractError(f"there is no sentence_provenance of temperature {temperature} yet")
    settings = profile.divergence_sampling
    student = inference_model(profile.base_student, profile.compute.student_inference)
    batches: list[pa.RecordBatch] = []
    with student.open(str(lake.current_checkpoint(checkpoint))) as engine:
        for cell in cells:
            columns = [*FILTERED_COLUMNS, "question"]
            filtered = list(_first(lake.batches("filtered_responses", cell, columns), n_answers))
            if not filtered:
                continue
            ids = pa.concat_arrays([batch["response_id"] for batch in filtered])
            rows = lake.read("sentence_provenance", cell)
            scores = score_responses(
                (batch.select(TEXT_COLUMNS) for batch in filtered),
                len(ids), engine, profile.system_prompt,
            )  # fmt: skip
            batches += boosted_sentences(
                rows.filter(pc.is_in(rows["response_id"], ids)), filtered, scores,
                settings.min_probability_ratio, segmenter_named(settings.segmenter),
            )  # fmt: skip
    return pa.Table.from_batches(batches, BOOSTED_SENTENCES)


def _first(batches: Iterator[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if n_rows <= 0:
            return
        yield batch.slice(0, n_rows)
        n_rows -= batch.num_rows
