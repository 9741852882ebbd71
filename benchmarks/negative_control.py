"""The negative control: a company whose customers leave by a coin, and nobody may find out who.

    python -m benchmarks.negative_control [--seeds 3]

The files are RavenStack's (docs/online-retail.md says where they come from), but for when its accounts leave. In the
files as they are that is the latest of an account's churn events, which lie anywhere between signup and the files' end:
who signed up late must leave soon, and everybody sooner towards the end, which tells something. Here each
account leaves some days after its signup that are drawn from an exponential distribution: whatever its age, its plan
or the date, it leaves as likely as any other.
"""

import argparse
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.known_truth import ROOT, run_churn
from warehouse.connection import Warehouse
from warehouse.settings import Settings

RAVENSTACK = ROOT.parent / "shared" / "data" / "ravenstack"
ACCOUNTS, CHURN_EVENTS = "ravenstack_accounts.csv", "ravenstack_churn_events.csv"
MEAN_DAYS = 400
CHANCE = 0.5
MOST_SIGNALS = 0.10
"""Share of seeds that may have an interval above a coin's AUC, for one candidate of several; one seed may always."""


def draw_leavings(folder: Path, seed: int) -> None:
    """Write the churn events of RavenStack's files in this folder anew: one for each account that leaves in time."""
    chance = np.random.default_rng(seed)
    accounts = pd.read_csv(folder / ACCOUNTS, parse_dates=["signup_date"])
    files_end = pd.read_csv(folder / CHURN_EVENTS, parse_dates=["churn_date"])["churn_date"].max()
    stayed = pd.to_timedelta(np.ceil(chance.exponential(MEAN_DAYS, len(accounts))), unit="D")
    events = pd.DataFrame(
        {
            "churn_event_id": "C-" + accounts["account_id"],
            "account_id": accounts["account_id"],
            "churn_date": accounts["signup_date"] + stayed,
        }
    )
    folder.chmod(0o755)
    (folder / CHURN_EVENTS).unlink()
    events[events["churn_date"] <= files_end].to_csv(folder / CHURN_EVENTS, index=False, date_format="%Y-%m-%d")


def main() -> None:
    """Run the line for each seed; exits 1 where more of them find a signal than chance lets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="How many draws of who leaves.")
    options = parser.parse_args()
    if not RAVENSTACK.is_dir():
        print(f"skipped: there is no {RAVENSTACK.name} among the data (docs/online-retail.md says where)")
        return
    signals = 0
    for seed in range(1, options.seeds + 1):
        chosen, lows = _found(seed)
        signals += max(lows.values()) > CHANCE
        print(f"    seed {seed}: {chosen} publishes; lower ends of the AUCs' intervals {lows}", flush=True)
    print(f"    a signal in {signals} of {options.seeds}")
    if signals > max(1, MOST_SIGNALS * options.seeds):
        raise SystemExit(1)


def _found(seed: int) -> tuple[str, Mapping[str, float]]:
    """What publishes, and the lower end of each candidate's AUC."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        shutil.copytree(RAVENSTACK, home / "imports" / "ravenstack")
        draw_leavings(home / "imports" / "ravenstack", seed)
        run_churn(home, "company", "add", str(ROOT / "docs" / "examples" / "ravenstack.yaml"))
        run_churn(home, "run")
        with Warehouse.open(Settings(home=home)) as warehouse, warehouse.connect() as conn:
            lows = conn.execute("select candidate, value from ml.evaluations where metric = 'auc_low'").fetchall()
            row = conn.execute("select decision ->> 'chosen' from ml.training_runs").fetchone()
    return str(row[0]) if row else "", {candidate: round(float(low), 3) for candidate, low in lows}


if __name__ == "__main__":
    main()
