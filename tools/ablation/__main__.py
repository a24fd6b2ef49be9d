"""`python -m tools.ablation`."""

import typer

from tools.ablation.command import ablation

if __name__ == "__main__":
    typer.run(ablation)
