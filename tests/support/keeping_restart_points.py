"""The training program, but with the restart points left there when it is done.

`python [-m torch.distributed.run …] -m support.keeping_restart_points --config CONFIG`
"""

from __future__ import annotations

from training import sft


def main() -> None:
    """Command line of `training.sft`."""
    sft.forget_restart_points = lambda output_dir: None  # type: ignore[assignment]
    sft.main()


if __name__ == "__main__":
    main()
