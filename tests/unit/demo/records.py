"""What the simulated companies' CRMs hold: records as served, and all their versions."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demo.crm.store import RecordStore
from demo.world.build import Manifest, read_manifest
from demo.world.moments import STARTING_CLOCK

SEED = 7


def manifest_of(home: Path) -> Manifest:
    manifest = read_manifest(home)
    assert manifest is not None
    return manifest


def store(home: Path, slug: str, entity: str) -> RecordStore:
    return RecordStore(home / "records" / slug / f"{entity}.arrow")


def rows(home: Path, slug: str, entity: str, clock: int = STARTING_CLOCK) -> pa.Table:
    return store(home, slug, entity).page(clock, None, None, 10_000_000).rows


def versions(home: Path, slug: str, entity: str) -> pa.Table:
    return pa.ipc.open_file(home / "records" / slug / f"{entity}.arrow").read_all()


def column(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].to_numpy())


def live_customers(home: Path) -> pa.Table:
    customers = rows(home, "brightdesk", "customers")
    return customers.filter(pc.invert(customers["is_deleted"]))
