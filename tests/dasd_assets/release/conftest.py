"""Both releases of the small lake, made once through Dagster with their checks."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from support.release_lake import RELEASES, make_release_lake, release

from resources.lake.lake import Lake


@pytest.fixture(scope="session")
def released(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Lake, dg.ExecuteInProcessResult]:
    """The lake, and the run that made the releases."""
    lake = Lake(root=str(tmp_path_factory.mktemp("released") / "lake"))
    make_release_lake(lake)
    return lake, release(lake, *RELEASES, with_checks=True)


@pytest.fixture(scope="session")
def model_folder(released: tuple[Lake, dg.ExecuteInProcessResult]) -> Path:
    """The released model."""
    return Path(released[0].root, "releases", "model")


@pytest.fixture(scope="session")
def dataset_folder(released: tuple[Lake, dg.ExecuteInProcessResult]) -> Path:
    """The released training sets."""
    return Path(released[0].root, "releases", "dataset")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake of one's own, nothing released yet."""
    lake = Lake(root=str(tmp_path / "lake"))
    make_release_lake(lake)
    return lake
