"""Every table of docs/measurements.md that is about scores, by one command.

    python -m benchmarks.scores FOLDER [--seeds 7 8 9 10]

Demo worlds of these seeds are made in FOLDER and a line run on each, unless they are there, and the shop of
docs/online-retail.md where its data are. Then, over all of them: levels and order by rolling origin beside what was
before and beside modest trees, horizons, known truth, the nowcast, the negative control, and files that are tried.
Hours on two cores with all seeds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.known_truth import ROOT, run_churn

SHOP = "online_retail"
SHOP_DATA = ROOT.parent / "shared" / "data" / SHOP


def homes(folder: Path, seeds: Sequence[int]) -> Iterator[Path]:
    """The home of each seed's world, its line run once; and the shop's."""
    for seed in seeds:
        home = folder / f"seed_{seed}"
        if not home.exists():
            _python("-m", "demo", "build", "--home", str(home / "demo"), "--seed", str(seed))
            run_churn(home, "demo", "run")
        yield home
    shop = folder / SHOP
    if SHOP_DATA.is_dir():
        if not shop.exists():
            shutil.copytree(SHOP_DATA, shop / "imports" / SHOP)
            run_churn(shop, "company", "add", str(ROOT / "docs" / "examples" / f"{SHOP}.yaml"))
            run_churn(shop, "run")
        yield shop


def _python(*arguments: str, homes: Sequence[Path] = ()) -> bool:
    """Run Python on a module, and say whether it kept what it promises."""
    named = ":".join(map(str, homes))
    environment = {**os.environ, "BENCH_DEMO_HOME": named} if homes else {**os.environ}
    print(f"\n== {' '.join(arguments)} {named}", flush=True)
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=False).returncode == 0


def main() -> None:
    """Run them all; exits 1 where one misses what it promises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="Where the worlds' homes are, or will be.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9, 10], help="Seeds of the demo's worlds.")
    options = parser.parse_args()
    there = list(homes(options.folder.absolute(), options.seeds))
    worlds = [home for home in there if home.name != SHOP]
    kept = [
        _python("-m", "benchmarks.levels", homes=there),
        _python("-m", "benchmarks.horizons", *map(str, there)),
        *(_python("-m", "benchmarks.known_truth", homes=[world]) for world in worlds),
        *(_python("-m", f"benchmarks.{name}") for name in ("nowcast", "negative_control", "trying")),
    ]
    if not all(kept):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
