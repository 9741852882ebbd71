"""Builds a world and writes it: record versions per company and entity, and the truth, into one folder."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demo.world import dirt, purchases, subscriptions
from demo.world.campaign_tables import campaign_versions, send_versions
from demo.world.campaigns import GROUPS
from demo.world.companies import COMPANIES, Company, customers_by_company
from demo.world.dirt import RATES
from demo.world.moments import DAY, NEVER, STARTING_CLOCK, WORLD_END, Bools, Floats, Ints, as_datetime
from demo.world.population import People, draw_people, price_factor
from demo.world.records import Changes, Events, History, Payments, Sends, Tickets, Truth, nevers, value_at
from demo.world.tables import customer_versions, event_versions, payment_versions, ticket_versions
from demo.world.usage import NO_GRADE
from foundation.private_files import private_file

#: Part of a world's identity: a change of the simulator makes older folders stale.
SIMULATOR_VERSION = 3
CAMPAIGN_STREAM = 1
SIMULATORS: dict[str, Callable[[Company, Ints, Floats, np.random.Generator], History]] = {
    "subscriptions": subscriptions.simulate,
    "purchases": purchases.simulate,
}


@dataclass(frozen=True)
class Manifest:
    """What a built folder holds; `digest` is over every record and the whole truth."""

    simulator_version: int
    seed: int
    customers: dict[str, int]
    versions: dict[str, dict[str, int]]
    digest: str


@dataclass
class _Accounts:
    """All accounts of a company, duplicates and test accounts among them, ordered by sign-up."""

    people: People
    is_test: Bools
    deleted_at: Ints
    history: History


def read_manifest(home: Path) -> Manifest | None:
    """The manifest of the world in a folder; None where there is none or it was not finished."""
    path = home / "world.json"
    try:
        return Manifest(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def build_world(home: Path, *, customers: int, seed: int, progress: Callable[[str], None]) -> Manifest:
    """Simulate the world of `customers` (at the starting clock) and write it to `home`.

    A folder that holds this very world is left as it is. Returns the manifest of what lies there.
    """
    wanted = customers_by_company(customers)
    existing = read_manifest(home)
    world = (SIMULATOR_VERSION, seed, wanted)
    if existing and (existing.simulator_version, existing.seed, existing.customers) == world:
        return existing
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    (home / "world.json").unlink(missing_ok=True)
    for folder in (home / "records", home / "truth"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    versions: dict[str, dict[str, int]] = {}
    for index, company in enumerate(COMPANIES):
        progress(f"{company.slug}: simulating {wanted[company.slug]:,} customers")
        versions[company.slug] = _build_company(home, company, wanted[company.slug], [seed, index])
    manifest = Manifest(SIMULATOR_VERSION, seed, wanted, versions, _digest(home))
    with private_file(home / "world.json") as file:
        file.write(f"{json.dumps(asdict(manifest), indent=2)}\n".encode())
    return manifest


def _build_company(home: Path, company: Company, customers: int, entropy: list[int]) -> dict[str, int]:
    rng = np.random.default_rng(entropy)
    accounts = _open_accounts(company, customers, rng)
    history, people = accounts.history, accounts.people
    pq.write_table(_truth_table(history.truth), home / "truth" / f"{company.slug}.parquet")
    if history.campaign_truth:
        pq.write_table(
            _campaign_truth_table(history.campaign_truth), home / "truth" / f"{company.slug}_campaigns.parquet"
        )
    history.truth, history.campaign_truth = {}, {}
    # Of a stream of their own, so that the other entities are drawn as they would be without campaigns.
    campaigns_rng = np.random.default_rng([*entropy, CAMPAIGN_STREAM])
    folder = home / "records" / company.slug
    folder.mkdir()
    counts: dict[str, int] = {}
    makers: dict[str, Callable[[], pa.Table]] = {
        "customers": lambda: customer_versions(company, people, history, accounts.is_test, accounts.deleted_at, rng),
        "tickets": lambda: ticket_versions(company, history, people, rng),
        "payments": lambda: payment_versions(history, people, rng),
        "events": lambda: event_versions(history, rng),
        "campaigns": lambda: campaign_versions(history.campaigns, campaigns_rng),
        "sends": lambda: send_versions(history.sends, accounts.deleted_at, campaigns_rng),
    }
    for entity, make in makers.items():
        table = make().combine_chunks()
        with pa.ipc.new_file(folder / f"{entity}.arrow", table.schema) as sink:
            sink.write_table(table)
        counts[entity] = table.num_rows
    return counts


def _open_accounts(company: Company, customers: int, rng: np.random.Generator) -> _Accounts:
    """Draw the customers, play their lives, and add the accounts that are nobody's."""
    created_at = _sign_ups(company, customers, rng)
    people = draw_people(company, created_at, rng)
    history = SIMULATORS[company.kind](company, created_at, price_factor(company, people), rng)
    doubles, merged_at = _duplicates(people, rng)
    tests = _test_accounts(company, customers, rng)
    everybody = _joined([people, doubles, tests])
    deleted_at = np.concatenate([_deletions(company, history, rng), merged_at, nevers(len(tests.created_at))])
    is_test = np.arange(len(deleted_at)) >= len(deleted_at) - len(tests.created_at)
    _add_accounts(history, everybody.created_at, is_test, rng)
    order = np.argsort(everybody.created_at, kind="stable")
    _renumber(history, np.argsort(order, kind="stable"))
    history.created_at = everybody.created_at[order]
    return _Accounts(everybody.chosen(order), is_test[order], deleted_at[order], history)


def _sign_ups(company: Company, customers: int, rng: np.random.Generator) -> Ints:
    """Sign-up moments, ascending: `customers` before the starting clock, and as many a month after it."""
    established = round(customers * company.established_share)
    arriving = customers - established
    coming = round(arriving * (WORLD_END - STARTING_CLOCK) / (STARTING_CLOCK - company.founded_at))
    return np.sort(
        np.concatenate(
            [
                company.founded_at - rng.integers(DAY, 700 * DAY, established),
                rng.integers(company.founded_at, STARTING_CLOCK, arriving),
                rng.integers(STARTING_CLOCK, WORLD_END - DAY, coming),
            ]
        )
    )


def _duplicates(people: People, rng: np.random.Generator) -> tuple[People, Ints]:
    """Second accounts, and when each is merged into the first."""
    count = round(len(people.created_at) * RATES.duplicate_customers)
    doubles = people.chosen(rng.choice(len(people.created_at), count, replace=False))
    doubles.created_at = np.minimum(doubles.created_at + rng.integers(5 * DAY, 300 * DAY, count), WORLD_END - DAY)
    merged_at = doubles.created_at + rng.integers(5 * DAY, 60 * DAY, count)
    return doubles, np.where(dirt.some(count, RATES.merged_duplicates, rng), merged_at, NEVER)


def _test_accounts(company: Company, customers: int, rng: np.random.Generator) -> People:
    count = max(1, round(customers * RATES.test_customers))
    tests = draw_people(company, rng.integers(company.founded_at, STARTING_CLOCK - 30 * DAY, count), rng)
    tests.name = np.array([f"Test account {number}" for number in range(1, count + 1)], dtype=object)
    return tests


def _deletions(company: Company, history: History, rng: np.random.Generator) -> Ints:
    """When customers are deleted on their request: some time after they left, so that it reveals nothing."""
    everyone = np.arange(len(history.created_at))
    if company.kind == "subscriptions":
        known_at = np.maximum(history.created_at, WORLD_END)
        return dirt.delete_leavers(value_at(history.changes["cancelled_at"], everyone, known_at), rng)
    payments = history.payments
    last_paid = history.created_at.copy()
    paid = payments.paid_at != NEVER
    np.maximum.at(last_paid, payments.customer[paid], payments.paid_at[paid])
    return dirt.delete_leavers(np.where(last_paid < WORLD_END - 250 * DAY, last_paid, NEVER), rng)


def _add_accounts(history: History, created_at: Ints, is_test: Bools, rng: np.random.Generator) -> None:
    """Give the accounts that are nobody's their first values, and the test accounts a few small charges and events."""
    added = np.arange(len(history.created_at), len(created_at))
    for name, change in history.changes.items():
        first = {"is_active": 1, "cancelled_at": NEVER, "plan": 0, "seats": 1, "price": 100, "nps": NO_GRADE}[name]
        new = Changes(added, created_at[added], np.full(len(added), first))
        history.changes[name] = Changes.joined([change, new])
    tester = np.repeat(np.flatnonzero(is_test), 3)
    at = created_at[tester] + rng.integers(DAY, 30 * DAY, len(tester))
    charges = Payments(
        customer=tester,
        created_at=at,
        due_at=at,
        paid_at=at + 60,
        failed_at=nevers(len(tester)),
        voided_at=nevers(len(tester)),
        failed_attempts=np.zeros(len(tester), dtype=np.int64),
        amount=np.full(len(tester), 100),
        discount=np.zeros(len(tester), dtype=np.int64),
        is_refund=np.zeros(len(tester), dtype=np.bool_),
    )
    history.payments = Payments.joined([history.payments, charges])
    if len(history.events):
        trials = Events(tester, at, np.zeros(len(tester), dtype=np.int64), np.full(len(tester), 100))
        history.events = Events.joined([history.events, trials])


def _renumber(history: History, position: Ints) -> None:
    """Number customers by sign-up, everywhere."""
    owned: list[Tickets | Payments | Events | Sends | Changes] = [
        *(history.tickets, history.payments, history.events, history.sends),
        *history.changes.values(),
    ]
    for columns in owned:
        columns.customer = position[columns.customer]
    for truth in (history.truth, history.campaign_truth):
        if truth:
            truth["customer"] = position[truth["customer"]]


def _joined(parts: list[People]) -> People:
    return People(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})


def _truth_table(truth: Truth) -> pa.Table:
    """The truth as it is written: readable ids and dates, rows ordered by date and customer."""
    order = np.lexsort((truth["customer"], truth["as_of"]))
    rows = {name: values[order] for name, values in truth.items()}
    days = (rows.pop("as_of") // DAY).astype(np.int32)
    churned_at = rows.pop("churned_at")
    moments = pa.array(churned_at, mask=churned_at == NEVER).cast(pa.timestamp("s", tz="UTC"))
    columns = {
        "customer_id": pa.array([f"cus_{key + 1:07d}" for key in rows.pop("customer").tolist()]),
        "as_of_date": pa.array(days).cast(pa.date32()),
        "churned_at": moments,
    }
    return pa.table(columns | {name: pa.array(values) for name, values in rows.items()})


def _campaign_truth_table(truth: Truth) -> pa.Table:
    """What each campaign did to each customer of its audience, as it is written; ordered by campaign and customer."""
    order = np.lexsort((truth["customer"], truth["campaign"]))
    rows = {name: values[order] for name, values in truth.items()}
    columns = {
        "campaign_id": pa.array([f"cam_{key + 1:05d}" for key in rows.pop("campaign").tolist()]),
        "customer_id": pa.array([f"cus_{key + 1:07d}" for key in rows.pop("customer").tolist()]),
        "group": pa.array([GROUPS[code] for code in rows.pop("group").tolist()]),
    }
    return pa.table(columns | {name: pa.array(values) for name, values in rows.items()})


def _digest(home: Path) -> str:
    """One hash over the content of all records and truths."""
    digest = hashlib.sha256()
    for path in sorted([*home.glob("records/*/*.arrow"), *home.glob("truth/*.parquet")]):
        digest.update(path.relative_to(home).as_posix().encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def describe(manifest: Manifest) -> str:
    """One line for people: who is in the world and how much is recorded of them."""
    counts = ", ".join(f"{slug} {count:,}" for slug, count in manifest.customers.items())
    versions = sum(sum(each.values()) for each in manifest.versions.values())
    span = f"clock {as_datetime(STARTING_CLOCK):%Y-%m-%d %H:%M} UTC, movable to {as_datetime(WORLD_END):%Y-%m-%d}"
    return f"{counts} customers; {versions:,} record versions; {span}"
