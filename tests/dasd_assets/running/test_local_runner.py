"""What `dasd run` tells of a failed step."""

import re
import sys

import dagster as dg
import pytest

from dasd_assets.running.local_runner import cause_of


class FullDiskError(OSError):
    """Stands for an error of this project."""


@dg.asset
def told() -> None:
    try:
        raise OSError("[Errno 28] No space left on device")
    except OSError as error:
        raise FullDiskError("lake/questions: make room, then run it again") from error


@dg.asset
def plain() -> None:
    raise ValueError("row 3 has no answer")


@dg.asset
def by_dagster(context: dg.AssetExecutionContext) -> None:
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    dg.PipesSubprocessClient().run(context=context, command=command)


@pytest.mark.parametrize(
    ("asset", "cause"),
    [
        (told, r"told: \S*FullDiskError: lake/questions: make room, then run it again"),
        (plain, r"plain: ValueError: row 3 has no answer"),
        (by_dagster, r"by_dagster: \S*DagsterPipesExecutionError: .* code 3"),
    ],
)
def test_a_failure_is_told_in_the_words_of_the_error_that_the_asset_raised(
    asset: dg.AssetsDefinition, cause: str
) -> None:
    result = dg.materialize([asset], raise_on_error=False)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert re.match(cause, cause_of(failed))
