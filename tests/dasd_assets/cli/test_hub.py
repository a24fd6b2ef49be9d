"""`dasd publish`, `dasd pull` and `hf://` drops against a stand-in of the hub on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.hub_server import TOKEN, Hub, environment, hub_server, lead_to
from typer.testing import CliRunner, Result

from dasd_assets.cli.main import app
from dasd_assets.release.folder import publish_release
from resources.lake.lake import Lake

SHARDS = {f"model-0000{n}-of-00003.safetensors": bytes([n]) * 1000 for n in (1, 2, 3)}
QUESTIONS = [{"question": f"How many is {n} and {n}?", "domain": "math", "answer": str(2 * n)}
             for n in range(3)]  # fmt: skip
DROP = "\n".join(json.dumps(row) for row in QUESTIONS).encode()


def dasd(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server() as started:
        lead_to(started, str(tmp_path / "cache"), monkeypatch)
        yield started


@pytest.fixture
def model(lake: Lake) -> Path:
    """A released model of three files of weights."""

    def write(folder: Path) -> None:
        (folder / "README.md").write_text("# a card\n")
        for name, content in SHARDS.items():
            (folder / name).write_bytes(content)

    return publish_release(Path(lake.root, "releases"), "model", write).folder


def test_a_dry_run_says_what_would_go_and_sends_nothing(hub: Hub, model: Path) -> None:
    result = dasd("publish", "model", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "model dasd-model (private): 5 files" in result.output
    assert "model-00001-of-00003.safetensors  1,000 bytes" in result.output
    assert not hub.repositories


def test_a_release_becomes_a_private_repository(
    hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    result = dasd("publish", "model")
    assert result.exit_code == 0, result.output
    assert f"{hub.url}/me/dasd-model" in result.output
    assert TOKEN not in result.output
    repository = hub.repositories["model", "me/dasd-model"]
    assert repository.is_private
    assert repository.files == {file.name: file.read_bytes() for file in model.iterdir()}


def test_what_was_interrupted_goes_on(
    hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.uploads_until_it_breaks = 2
    result = dasd("publish", "model")
    assert result.exit_code == 2
    assert "run the command again" in result.output and TOKEN not in result.output
    assert not hub.repositories["model", "me/dasd-model"].files, "half a release must not be seen"
    hub.uploads_until_it_breaks = None
    assert dasd("publish", "model").exit_code == 0
    assert len(hub.uploads) == len(set(hub.uploads)) == 3, "each file of weights went once"


def test_a_release_is_one_commit(hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Under Xet, which the stand-in does not speak, upload_folder commits a large folder in pieces.
    monkeypatch.delattr("huggingface_hub.HfApi.upload_folder")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert dasd("publish", "model").exit_code == 0
    assert hub.n_commits == 1
    assert set(SHARDS) < set(hub.repositories["model", "me/dasd-model"].files)


def test_files_of_the_release_before_go_and_others_stay(
    hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert dasd("publish", "model").exit_code == 0
    files = hub.repositories["model", "me/dasd-model"].files
    files |= {"model-00004-of-00004.safetensors": b"old", "notes.md": b"of a person"}
    assert dasd("publish", "model").exit_code == 0
    assert set(files) == {file.name for file in model.iterdir()} | {"notes.md"}


@pytest.mark.parametrize(
    ("is_private", "options", "message"),
    [(False, [], "is public already.*say --public"), (True, ["--public"], "is private already")],
)
def test_a_repository_that_others_see_differently_is_refused(
    hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch,
    is_private: bool, options: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.put("model", "me/dasd-model", {})
    hub.repositories["model", "me/dasd-model"].is_private = is_private
    refused(dasd("publish", "model", *options), message)
    assert not hub.uploads


def test_a_wrong_token_is_not_printed(
    hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_WrongAndStillSecret")
    monkeypatch.setenv("DASD_DEBUG", "1")  # with every traceback
    result = dasd("publish", "model")
    refused(result, "`hf auth login` or HF_TOKEN")
    assert "hf_WrongAndStillSecret" not in result.output


def test_no_token_no_release_and_a_changed_file_are_said(hub: Hub, lake: Lake, model: Path) -> None:
    refused(dasd("publish", "model"), "`hf auth login` or HF_TOKEN")
    refused(dasd("publish"), "dataset: nothing is released yet: `dasd run`")
    (model / "README.md").write_text("something else")
    refused(dasd("publish", "model"), "README.md: changed")
    assert not hub.repositories


def test_questions_come_from_the_hub(hub: Hub, project: Path) -> None:
    hub.put("dataset", "me/sums", {"README.md": b"#", "data/a.jsonl": DROP, "b.txt": b"?"})
    result = dasd("add-questions", "hf://datasets/me/sums@main")
    assert result.exit_code == 0, result.output
    assert "sums: 3 usable row(s), 3 new question(s)" in result.output
    added = project / "inbox" / "sums"
    assert [path.name for path in added.rglob("*") if path.is_file()] == ["a.jsonl"]
    assert hub.downloads == ["data/a.jsonl"]
    assert not (project / ".dasd" / "my-project" / "pulled").exists()
    alone = dasd("add-questions", "hf://datasets/me/sums/data/a.jsonl", "--dry-run")
    refused(alone, "the very content of the drop 'sums'")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://datasets/me/nothing", "neither on the hub.*hf auth login"),
        ("hf://datasets/me/sums/../x.jsonl", "no address on the hub"),
        ("hf://datasets/sums", "no address on the hub"),
        ("hf://me/sums", "is a model"),
        ("hf://datasets/me/sums/x.jsonl", r"has no file whose name ends in \.jsonl"),
    ],
)
def test_an_address_without_questions_is_refused(
    hub: Hub, project: Path, address: str, message: str
) -> None:
    hub.put("dataset", "me/sums", {"data/a.jsonl": DROP})
    refused(dasd("add-questions", address), message)


def test_models_of_the_profile_come_from_the_hub(
    hub: Hub, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"w", "original/model.safetensors": b"w"}
    hub.put("model", "me/student", files)
    hub.put("model", "me/teacher", files)
    file = project / "profile.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    settings["base_student"]["path"] = "hf://me/student@main"
    server: dict[str, Any] = {
        "kind": "openai",
        "base_url": "http://127.0.0.1:9/v1",
        "served_model": "t",
    }
    settings["teacher"] |= {"path": "me/teacher", "engine": server}
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    result = dasd("pull")
    assert result.exit_code == 0, result.output
    assert "me/student at main" in result.output and "me/teacher (no weights)" in result.output
    assert sorted(hub.downloads) == ["config.json", "config.json", "model.safetensors"]
    assert dasd("pull").exit_code == 0
    assert len(hub.downloads) == 3, "what is in the cache is not fetched again"


def test_the_environment_alone_leads_to_another_hub(
    model: Path, tmp_path: Path, lake: Lake
) -> None:
    with hub_server() as hub:
        told = environment(hub, str(tmp_path / "cache"))
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "dasd_assets.cli", "publish", "model"],
            env=os.environ | told | {"HF_TOKEN": TOKEN, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert set(SHARDS) < set(hub.repositories["model", "me/dasd-model"].files)
    assert TOKEN not in done.stdout + done.stderr


def refused(result: Result, message: str) -> None:
    import re

    assert result.exit_code == 2, result.output
    assert re.search(message, " ".join(result.output.split())), result.output
