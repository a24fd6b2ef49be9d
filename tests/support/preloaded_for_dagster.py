"""In place of `dasd_assets.running.preloaded`, for steps that need none of the large libraries.

Torch and its like take a server some fifteen seconds, and only steps with models use them.
"""

from __future__ import annotations

from dasd_assets.dagster_internals import IMPORTED_BY_A_RUN
from dasd_assets.running import local_run

local_run.LIBRARIES = IMPORTED_BY_A_RUN

import dasd_assets.running.preloaded  # noqa: E402, F401
