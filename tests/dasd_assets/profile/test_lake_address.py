"""Where the lake is: below the data folder, in a folder, in a bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from dasd_assets.profile import Profile, ProfileError, load_profile
from dasd_assets.profile.home import home, lake_folder
from dasd_assets.profile.open_lake import open_lake
from resources.lake.bucket_errors import ObjectStoreError
from resources.lake.bucket_folder import bucket_of
from resources.lake.bucket_lake import BucketLake
from resources.lake.lake import Lake

URI = "s3://bucket/some/prefix"


def profile(lake: str | None = None) -> Profile:
    return load_profile("tiny").model_copy(update={"lake": lake})


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DASD_LAKE", "DASD_HOME", "DASD_DEPLOYMENT"):
        monkeypatch.delenv(name, raising=False)


def test_a_folder_unless_a_bucket_is_named(tmp_path: Path) -> None:
    default = open_lake(profile(), tmp_path)
    assert type(default) is Lake and default.root == str(tmp_path / "lake")
    assert open_lake(profile(str(tmp_path / "big")), tmp_path).root == str(tmp_path / "big")


def test_a_bucket_has_a_folder_of_its_own_that_names_it(tmp_path: Path) -> None:
    lake = open_lake(profile(f"{URI}/"), tmp_path)
    assert isinstance(lake, BucketLake)
    assert (lake.uri, bucket_of(Path(lake.root))) == (URI, URI)
    others = {lake_folder(profile(uri), tmp_path) for uri in (URI, "s3://bucket", "s3://other/x")}
    assert len(others) == 3
    # The same folder without its bucket is another lake: a local one never holds copies.
    assert open_lake(profile(), tmp_path).root not in {str(folder) for folder in others}


def test_the_environment_comes_before_the_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASD_LAKE", URI)
    assert isinstance(open_lake(profile(str(tmp_path / "big")), tmp_path), BucketLake)
    monkeypatch.setenv("DASD_LAKE", "here")
    monkeypatch.chdir(tmp_path)
    assert open_lake(profile(URI), tmp_path).root == str(tmp_path / "here")


def test_machines_of_one_deployment_have_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def owner(folder: str) -> str:
        lake = open_lake(profile(URI), tmp_path / folder)
        assert isinstance(lake, BucketLake)
        return lake.owner

    assert owner("a") != owner("b")
    monkeypatch.setenv("DASD_DEPLOYMENT", "team")
    assert owner("a") == owner("b") == "team"


@pytest.mark.parametrize("address", ["gs://bucket/x", "https://host/x"])
def test_other_addresses_are_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=f"{address}: expected a folder, s3://bucket or"):
        open_lake(profile(address), tmp_path)


@pytest.mark.parametrize("address", ["s3://", "s3:///x", "s3://bucket//x", "s3://bucket/../x"])
def test_addresses_of_no_bucket_are_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(ObjectStoreError, match="expected s3://bucket or s3://bucket/prefix"):
        open_lake(profile(address), tmp_path)
    assert not list(tmp_path.rglob("bucket.json"))


def test_the_data_folder_is_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASD_HOME", URI)
    with pytest.raises(ProfileError, match=r"folder of this machine.*DASD_LAKE"):
        home(profile())
