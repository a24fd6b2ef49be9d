"""A lake that can be released, made once; both its releases, made once through Dagster."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest
from support.release_lake import RELEASES, make_release_lake, release

from resources.lake.lake import Lake


@pytest.fixture(scope="session")
def unreleased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake before anything is released, to be copied."""
    root = tmp_path_factory.mktemp("unreleased") / "lake"
    make_release_lake(Lake(root=str(root)))
    return root


@pytest.fixture(scope="session")
def released(
    unreleased: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Lake, dg.ExecuteInProcessResult]:
    """The lake, and the run that made the releases."""
    lake = Lake(root=str(tmp_path_factory.mktemp("released") / "lake"))
    shutil.copytree(unreleased, lake.root)
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
def lake(unreleased: Path, tmp_path: Path) -> Lake:
    """A lake of one's own, nothing released yet."""
    lake = Lake(root=str(tmp_path / "lake"))
    shutil.copytree(unreleased, lake.root)
    return lake
