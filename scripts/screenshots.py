"""Pictures for the docs, of a real run: Dagster's asset graph, an asset with its checks and figures, and the report.

    churn demo run && churn ui &
    churn report --company brightdesk --output report.html
    python -m scripts.screenshots http://127.0.0.1:3000 report.html     # either of the two, or both

Needs chromium on the PATH. Pictures are made small with Pillow, which comes with matplotlib.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
WIDTH = 1400
PAGES = {
    "dagster-assets": "/asset-groups",
    "dagster-checks": "/assets/raw/payments?view=checks",
    "dagster-scores": "/assets/predictions/churn_scores?view=overview",
}


def take(url: str, name: str, *, height: int = 900) -> Path:
    """One picture of a page, once its network is quiet."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not on the PATH.")
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.png"
        subprocess.run(  # noqa: S603
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--hide-scrollbars",
                f"--window-size={WIDTH},{height}",
                "--virtual-time-budget=25000",
                f"--screenshot={raw}",
                url,
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        path = IMAGES / f"{name}.png"
        IMAGES.mkdir(exist_ok=True)
        Image.open(raw).convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(path, optimize=True)
    return path


def main(*sources: str) -> None:
    """The pictures of what is named, into docs/images: of Dagster at an address, of a report in a file."""
    for source in sources:
        if source.startswith(("http://", "https://")):
            for name, page in PAGES.items():
                print(take(source + page, name))  # noqa: T201
        else:
            print(take(Path(source).resolve().as_uri(), "report", height=1400))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
