"""What a plan is for: how many questions in which shards, and how large the models are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from dasd_assets.models.shapes import shape_of_files
from dasd_assets.profile import Model, ModelShape
from resources.engines.model_folder import ModelFolderError


@dataclass(frozen=True)
class ShardSize:
    """Questions of one question_shard.

    Attributes:
        rows: usable rows as delivered.
        by_domain: domain -> questions that curation keeps; before it has run, all of the rows.
    """

    name: str
    rows: int
    by_domain: Mapping[str, int]

    @property
    def questions(self) -> int:
        """Of all domains."""
        return sum(self.by_domain.values())


@dataclass(frozen=True)
class Sizes:
    """What is planned for.

    Attributes:
        shards: question shards; of an announced number of questions, none.
        announced: domain -> questions that are in no shard yet; empty if the shards count.
        benchmarks: evaluation set -> questions of its file; None where it is not here.
    """

    shards: tuple[ShardSize, ...]
    announced: Mapping[str, int]
    benchmarks: Mapping[str, int | None]

    @property
    def rows(self) -> int:
        """Rows as delivered."""
        return sum(self.announced.values()) or sum(shard.rows for shard in self.shards)

    @property
    def questions(self) -> int:
        """Questions that the teacher is asked."""
        return sum(self.by_domain.values())

    @property
    def by_domain(self) -> Mapping[str, int]:
        """Domain -> questions that the teacher is asked."""
        if self.announced:
            return self.announced
        counted = Counter[str]()
        for shard in self.shards:
            counted.update(shard.by_domain)
        return counted


def shape_of(model: Model, stated: ModelShape | None) -> tuple[ModelShape | None, str]:
    """Size of a model and where it is from: its files, if they are here, else the profile.

    Returns:
        None, with the reason, where neither tells.
    """
    try:
        found = model.inspect()
        if not found.n_parameters:
            return stated, "profile" if stated else "no weights here"
        active = stated.active_parameters if stated else None
        return shape_of_files(found.path, found.n_parameters, active), "its files"
    except ModelFolderError as error:
        return stated, "profile" if stated else str(error)
