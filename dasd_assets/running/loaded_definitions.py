"""The assets' job, loaded by being imported: `dasd run` forks its runs from a process that has."""

from dasd_assets.running.local_runner import all_assets_job

all_assets_job().get_definition()
