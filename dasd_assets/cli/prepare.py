"""What every command that talks to Dagster needs first: profile, data folder, DAGSTER_HOME."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

from dasd_assets.profile import PROJECT_ROOT, SHIPPED, Profile
from dasd_assets.profile.home import LAKE, active_profile, dagster_home, home, lake_address
from resources.durable import write_whole

MOVED_MODULE = re.compile(r"(\bmodule: )dasd_assets\.(local_run_launcher|patient_postgres)\b")
"""In a dagster.yaml of 0.1.0: these modules have been in `running` since."""
BY_CORES = re.compile(r"(\bmax_concurrent_runs: )\d+(  # of a machine with )\d+")
"""Runs side by side: who wants another number takes the comment away."""

OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""Of a process that may live for days. With Python's 700 it would look through all that it has
imported, again and again."""


def prepare() -> tuple[Profile, Path]:
    """Profile and data folder, with Dagster's home made and the working folder set.

    From a checkout, Dagster's processes start in the project's folder, so paths that the
    environment gives are made absolute before.

    Raises:
        ProfileError: the active profile cannot be used.
    """
    profile = active_profile()
    folder = home(profile)
    named = os.environ.get("DASD_PROFILE", "")
    if Path(named).is_file() and named.endswith((".yaml", ".yml")):
        os.environ["DASD_PROFILE"] = str(Path(named).resolve())
    os.environ["DASD_HOME"] = str(folder)
    if os.environ.get(LAKE):
        os.environ[LAKE] = str(lake_address(profile))
    os.environ["DAGSTER_HOME"] = str(make_dagster_home(folder))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    quiet_dagster()
    os.chdir(PROJECT_ROOT)
    return profile, folder


def make_dagster_home(folder: Path) -> Path:
    """Dagster's home in a data folder, there and configured.

    A new one is given its dagster.yaml; one of an earlier version names modules by old paths.
    """
    made = dagster_home(folder)
    made.mkdir(parents=True, exist_ok=True)
    configuration = made / "dagster.yaml"
    shipped = SHIPPED / "dagster.yaml"
    there = configuration if configuration.exists() else shipped
    text = there.read_text(encoding="utf-8")
    named = MOVED_MODULE.sub(r"\1dasd_assets.running.\2", text)
    n_cores = len(os.sched_getaffinity(0))
    n_runs = max(2, n_cores)  # one may only look for what is out of date
    named = BY_CORES.sub(rf"\g<1>{n_runs}\g<2>{n_cores}", named)
    if there is shipped or named != text:
        write_whole(configuration, named.encode())
    return made


def quiet_dagster() -> None:
    """Have no warning of each beta feature at each import; what we use of them is tested."""
    warnings.filterwarnings("ignore", module="dagster")
    warnings.filterwarnings("ignore", message=".*(beta|preview).*")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
