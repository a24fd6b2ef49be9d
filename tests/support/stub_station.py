"""The pipeline's graph, sensor and conditions over assets that make nothing: milliseconds a run."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from support.station import Station

from dasd_assets.declaring.jobs import READ_QUESTIONS


class StubStation(Station):
    """A station whose runs only say that they made something, each time the same; no checks."""

    def load(self) -> None:
        """Read the profile anew; specs, partitions and conditions stay the pipeline's."""
        super().load()
        real = self.definitions
        followed = [each for each in real.assets or () if _follows_a_condition(each)]
        self.definitions = dg.Definitions(
            assets=[
                self._stub(each) if isinstance(each, dg.AssetsDefinition) else each
                for each in followed
            ],
            sensors=[self.sensor()], jobs=[READ_QUESTIONS], executor=dg.in_process_executor,
        )  # fmt: skip
        self._job = self.definitions.resolve_implicit_global_asset_job_def()

    def _stub(self, real: dg.AssetsDefinition) -> dg.AssetsDefinition:
        @dg.multi_asset(name=real.node_def.name, specs=list(real.specs))
        def made(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
            for key in sorted(context.selected_asset_keys):
                yield dg.MaterializeResult(asset_key=key, data_version=dg.DataVersion("the same"))

        return made


def _follows_a_condition(asset: Any) -> bool:
    """What is made without being asked for, and the inbox; training is not."""
    if isinstance(asset, dg.AssetSpec):
        return True
    return any(spec.automation_condition for spec in asset.specs)
