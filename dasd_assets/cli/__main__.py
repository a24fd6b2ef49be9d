"""`python -m dasd_assets.cli` is `dasd`."""

from dasd_assets.cli.main import app

if __name__ == "__main__":
    app()
