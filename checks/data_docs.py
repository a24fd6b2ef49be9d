"""The checks as Great Expectations knows them: suites as JSON, validation results, Data Docs.

One suite an asset, one column of its batch a check, one row a subject: a partition, or a domain or
table of one. The values are those that the checks have kept (`checks.kept_results`), so that no row
of the lake is read again, and all partitions of an asset are validated at once.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks.kept_results import KeptResult, kept_results
from dasd_assets.profile import Profile
from dasd_assets.profile.check_settings import CheckSettings
from dasd_assets.profile.data_contracts import CONTRACTS
from resources.lake.lake import Lake

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations import ExpectationSuite

FOLDER = "_data_docs"
SITE = Path(FOLDER, "gx", "uncommitted", "data_docs", "local_site")
SUBJECT = "subject"


class NothingCheckedError(Exception):
    """There are no results to show."""


def build_data_docs(lake: Lake, profile: Profile) -> tuple[Path, dict[str, int]]:
    """Validate what is kept with Great Expectations, and write its pages.

    The folder is a Great Expectations project: suites below `gx/expectations`, each validation
    below `gx/uncommitted/validations`. A further build adds its results to those of the earlier.

    Returns:
        The first page, and asset -> expectations that do not hold.

    Raises:
        NothingCheckedError: no check has run since results are kept.
    """
    by_asset: defaultdict[str, list[KeptResult]] = defaultdict(list)
    for one in kept_results(lake):
        by_asset[one.asset].append(one)
    if not by_asset:
        raise NothingCheckedError("no check has run yet: `dasd run`")
    context = _project(Path(lake.root, FOLDER))
    source = context.data_sources.add_or_update_pandas("lake")
    unmet = {}
    for asset, results in by_asset.items():
        unmet[asset] = _validate(context, source, asset, results, profile)
    (page,) = context.build_data_docs().values()
    return Path(page.removeprefix("file://")), unmet


def page_of(lake: Lake, asset: str) -> Path | None:
    """The page of an asset's suite, once there is one."""
    page = Path(lake.root, SITE, "expectations", f"{_name(asset)}.html")
    return page if page.is_file() else None


def suite(asset: str, profile: Profile) -> ExpectationSuite:
    """The checks on an asset that have a limit.

    Args:
        asset: its key, with slashes; the first part names the contract.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the library is imported
    import great_expectations as gx

    settings = profile.checks.of(asset.split("/")[0])
    expectations = [
        _expectation(contract.name, contract.description, contract.blocking, settings)
        for contract in CONTRACTS[asset.split("/")[0]]
        if (settings[contract.name].min, settings[contract.name].max) != (None, None)
    ]
    return gx.ExpectationSuite(name=_name(asset), expectations=expectations)


def _expectation(
    check: str, description: str, blocking: bool, settings: Mapping[str, CheckSettings]
) -> Any:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    limits = settings[check]
    critical = limits.severity == "error"
    return gxe.ExpectColumnValuesToBeBetween(
        column=check,
        min_value=limits.min,
        max_value=limits.max,
        severity=FailureSeverity.CRITICAL if critical else FailureSeverity.WARNING,
        description=f"{check}: {description} Allowed: {limits.allowed}.",
        meta={"check": check, "blocking": blocking},
    )


def _project(folder: Path) -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    folder.mkdir(parents=True, exist_ok=True)
    context = gx.get_context(mode="file", project_root_dir=str(folder))
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _validate(
    context: Any, source: Any, asset: str, results: list[KeptResult], profile: Profile
) -> int:
    """Validate all partitions of an asset; returns how many expectations do not hold."""
    import great_expectations as gx

    name = _name(asset)
    stored = context.suites.add_or_update(suite(asset, profile))
    batch = _batch_definition(source, name)
    validation = context.validation_definitions.add_or_update(
        gx.ValidationDefinition(name=name, data=batch, suite=stored)
    )
    found = validation.run(
        batch_parameters={"dataframe": _table(results, [e.column for e in stored.expectations])},
        result_format={
            "result_format": "COMPLETE", "unexpected_index_column_names": [SUBJECT],
        },
    )  # fmt: skip
    for result in found.results:
        if "element_count" not in result.result:
            raise RuntimeError(f"{asset}: could not be validated: {result.exception_info}")
    return sum(not result.success for result in found.results)


def _batch_definition(source: Any, name: str) -> Any:
    """The asset's batch of the project; one of an earlier build is taken again."""
    if name in {asset.name for asset in source.assets}:
        return source.get_asset(name).get_batch_definition("kept")
    return source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("kept")


def _table(results: list[KeptResult], checks: list[str]) -> pd.DataFrame:
    """A row per subject and a column per check; a subject that a check does not have is null."""
    import pandas as pd

    rows: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for one in results:
        for check, values in one.measured.items():
            for subject, value in values.items():
                is_whole = subject == one.partition
                rows[one.partition if is_whole else f"{one.partition}: {subject}"][check] = value
    table = pd.DataFrame(
        {check: [row.get(check) for row in rows.values()] for check in checks}, dtype="float64"
    )
    table.insert(0, SUBJECT, list(rows))
    return table


def _name(asset: str) -> str:
    return asset.replace("/", ".")
