"""From histories to the CRM's record versions: one Arrow table per entity, a row per version of a record.

A record's version at a moment is a function of the record's whole history and that moment; so versions are
made by listing the moments at which something changes. Rows are sorted by (updated_at, key). `visible_from`
and `visible_until` bound the clock times at which the row is the one that the CRM shows.
"""

from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from demo.world import dirt
from demo.world.companies import Company
from demo.world.dirt import RATES, Defect
from demo.world.moments import DAY, HOUR, NEVER, YEAR, Bools, Ints
from demo.world.population import COUNTRIES, CURRENCIES, SIGNUP_CHANNELS, TIME_ZONES, People
from demo.world.records import Changes, Events, History, Payments, Tickets, nevers, value_at
from demo.world.support import draw_trouble
from demo.world.usage import EVENT_NAMES, NO_GRADE, SESSION
from demo.world.versions import coded, known_moments, list_versions, version_table

CATEGORIES = ("billing", "bug", "how_to", "delivery", "account")
SUBJECTS = (
    "Rechnung stimmt nicht – please check",
    "App crashes on export",
    "How do I add a colleague?",
    "Où est ma commande ?",
    "No puedo iniciar sesión",
    "Login 失敗",
    "Question about my plan",
    "It is slow again…",
)
PRIORITIES = ("low", "normal", "high", "urgent")
TICKET_CHANNELS = ("email", "chat", "phone", "web")
NO_TRAIT = -1
DEVICES = ("web", "mobile", "api")
METHODS = ("card", "direct_debit", "paypal", "bank_transfer")
TRAITS: dict[str, tuple[str, tuple[str, ...], str, tuple[str, ...]]] = {
    "subscriptions": (
        "industry",
        ("retail", "health", "legal", "media", "education", "crafts"),
        "account_manager",
        ("Ana", "Bengt", "Chiara", "Dóra"),
    ),
    "purchases": (
        "favourite_department",
        ("garden", "kitchen", "toys", "books", "sport", "home"),
        "newsletter",
        ("weekly", "monthly", "never", "unsubscribed"),
    ),
}


def customer_versions(
    company: Company,
    people: People,
    history: History,
    is_test: Bools,
    deleted_at: Ints,
    rng: np.random.Generator,
) -> pa.Table:
    """The customers' versions. `key` is the customer's index plus one."""
    created_at = people.created_at
    edited_at = dirt.late_edits(created_at, RATES.late_customer_edits, rng)
    batches = dirt.batch_edits("customers", created_at, rng)
    renewals = [_renewals(company, history.changes, created_at, year) for year in range(1, 5)]
    versions = list_versions(
        [created_at, edited_at, *batches, *renewals],
        deleted_at,
        [Defect.UNREADABLE_DATE],
        list(history.changes.values()),
        rng,
    )
    who, at = versions.record, versions.updated_at
    count = len(created_at)
    changes = history.changes
    runs = sum((batch[who] <= at).astype(np.int64) for batch in batches)
    email = np.where(edited_at[who] <= at, people.later_email[who], people.email[who])
    no_email, no_phone = (
        dirt.some(count, RATES.missing_email, rng),
        dirt.some(count, RATES.missing_phone, rng),
    )
    no_country = dirt.some(count, RATES.missing_country, rng)
    no_channel = dirt.some(count, RATES.missing_signup_channel, rng)
    no_zone = dirt.some(count, RATES.missing_time_zone, rng)
    no_trait = dirt.some(count, RATES.missing_custom, rng.spawn(1)[0])
    first_trait = np.where(no_trait, NO_TRAIT, people.first_trait)
    grades = value_at(changes["nps"], who, at) if "nps" in changes else np.full(len(who), NO_GRADE)
    columns: dict[str, pa.Array] = {
        "name": pa.array(people.name[who], pa.string()),
        "email": pa.array(email, pa.string(), mask=no_email[who]),
        "phone": pa.array(people.phone[who], pa.string(), mask=no_phone[who]),
        "status": coded(1 - value_at(changes["is_active"], who, at), ("active", "cancelled")),
        "country": coded(people.country[who], COUNTRIES, no_country[who]),
        "currency": coded(people.currency[who], CURRENCIES),
        "time_zone": coded(people.country[who], TIME_ZONES, no_zone[who]),
        "signup_channel": coded(people.signup_channel[who], SIGNUP_CHANNELS, no_channel[who]),
        "is_test": pa.array(is_test[who]),
        "created_at": pa.array(created_at[who]),
        "custom": _custom(company, first_trait[who], (people.second_trait[who] + runs) % 4, grades),
    }
    return version_table(versions, columns | _contract(company, changes, created_at, who, at))


def _renewals(company: Company, changes: dict[str, Changes], created_at: Ints, year: int) -> Ints:
    """When yearly terms begin again for this year; NEVER for those who have none by then."""
    at = created_at + year * YEAR
    if not company.plans:
        return nevers(len(at))
    everyone = np.arange(len(at))
    is_active = value_at(changes["is_active"], everyone, at) == 1
    return np.where(is_active & (value_at(changes["plan"], everyone, at) == len(company.plans) - 1), at, NEVER)


def _contract(
    company: Company, changes: dict[str, Changes], created_at: Ints, who: Ints, at: Ints
) -> dict[str, pa.Array]:
    """What only a company with subscriptions knows; all null elsewhere. The dearest plan has yearly terms."""
    if not company.plans:
        moments, numbers = pa.nulls(len(who), pa.int64()), pa.nulls(len(who), pa.int64())
        plan = coded(np.zeros(len(who), dtype=np.int64), ("none",), np.ones(len(who), dtype=np.bool_))
        return {
            "plan": plan,
            "seats": numbers,
            "monthly_price": numbers,
            "cancelled_at": moments,
            "contract_end_at": moments,
        }
    plan_code = value_at(changes["plan"], who, at)
    is_cancelled = value_at(changes["is_active"], who, at) == 0
    term = created_at[who] + ((at - created_at[who]) // YEAR + 1) * YEAR
    seats = value_at(changes["seats"], who, at)
    return {
        "plan": coded(plan_code, tuple(plan.name for plan in company.plans)),
        "seats": pa.array(seats),
        "monthly_price": pa.array(value_at(changes["price"], who, at) * seats),
        "cancelled_at": known_moments(value_at(changes["cancelled_at"], who, at), at),
        "contract_end_at": pa.array(term, mask=is_cancelled | (plan_code < len(company.plans) - 1)),
    }


def ticket_versions(company: Company, history: History, people: People, rng: np.random.Generator) -> pa.Table:
    """The tickets' versions, spam and tickets of an older system among them."""
    true = history.tickets
    spam, spam_deleted_at = dirt.spam_tickets(true.opened_at, true.customer, rng)
    trouble = draw_trouble(len(people.created_at), company.support, rng)
    older = dirt.tickets_before_customer(company, people.created_at, trouble, len(true), rng)
    tickets = Tickets.joined([true, older, spam])
    deleted_at = np.concatenate([nevers(len(true) + len(older)), spam_deleted_at])
    order = np.lexsort((tickets.customer, tickets.opened_at))
    return _ticket_table(tickets.rows(order), deleted_at[order], rng)


def _ticket_table(tickets: Tickets, deleted_at: Ints, rng: np.random.Generator) -> pa.Table:
    count = len(tickets)
    edited_at = dirt.late_edits(tickets.opened_at, RATES.late_ticket_edits, rng)
    escalated = dirt.some(count, 0.04, rng)
    escalated_at = np.where(escalated, tickets.opened_at + rng.integers(HOUR, 2 * DAY, count), NEVER)
    moments = [tickets.opened_at, tickets.first_response_at, tickets.first_resolved_at, tickets.reopened_at]
    moments += [tickets.resolved_at, tickets.satisfaction_at, edited_at, escalated_at]
    moments += dirt.batch_edits("tickets", tickets.opened_at, rng)
    versions = list_versions(moments, deleted_at, [Defect.NO_CUSTOMER, Defect.UNREADABLE_DATE], [], rng)
    which, at = versions.record, versions.updated_at
    now = tickets.rows(which)
    is_open_again = (now.reopened_at <= at) & (now.resolved_at > at)
    resolved_at = np.where(now.resolved_at <= at, now.resolved_at, now.first_resolved_at)
    resolved_at = np.where(is_open_again, NEVER, resolved_at)
    status = np.where(resolved_at <= at, 2, np.where((now.first_response_at <= at) & ~is_open_again, 1, 0))
    category = rng.integers(0, len(CATEGORIES), count)[which] + (edited_at[which] <= at)
    priority = rng.choice(3, count, p=(0.25, 0.6, 0.15))[which] + (escalated_at[which] <= at)
    no_category = dirt.some(count, RATES.missing_category, rng)[which]
    no_priority = dirt.some(count, RATES.missing_priority, rng)[which]
    columns = {
        "customer": pa.array(now.customer + 1),
        "subject": coded(rng.integers(0, len(SUBJECTS), count)[which], SUBJECTS),
        "category": coded(category % len(CATEGORIES), CATEGORIES, no_category),
        "priority": coded(priority, PRIORITIES, no_priority),
        "status": coded(status, ("open", "pending", "resolved")),
        "channel": coded(rng.choice(4, count, p=(0.45, 0.3, 0.1, 0.15))[which], TICKET_CHANNELS),
        "created_at": pa.array(now.opened_at),
        "first_response_at": known_moments(now.first_response_at, at),
        "resolved_at": known_moments(resolved_at, at),
        "reopened_at": known_moments(now.reopened_at, at),
        "satisfaction": pa.array(now.satisfaction, mask=now.satisfaction_at > at),
    }
    return version_table(versions, columns)


def payment_versions(history: History, people: People, rng: np.random.Generator) -> pa.Table:
    """The payments' versions, refunds and charges made twice among them."""
    true = history.payments
    doubled, doubled_deleted_at = dirt.doubled_charges(true, rng)
    given_back = dirt.refunds(true, rng)
    payments = Payments.joined([true, given_back, doubled])
    deleted_at = np.concatenate([nevers(len(true) + len(given_back)), doubled_deleted_at])
    order = np.lexsort((payments.customer, payments.created_at))
    return _payment_table(payments.rows(order), deleted_at[order], people, rng)


def _payment_table(payments: Payments, deleted_at: Ints, people: People, rng: np.random.Generator) -> pa.Table:
    count = len(payments)
    edited_at = dirt.late_edits(payments.created_at, RATES.late_payment_edits, rng)
    moments = [payments.created_at, payments.paid_at, payments.failed_at, payments.voided_at, edited_at]
    moments += dirt.batch_edits("payments", payments.created_at, rng)
    defects = [Defect.NO_CUSTOMER, Defect.AMOUNT_NO_NUMBER, Defect.UNREADABLE_DATE]
    versions = list_versions(moments, deleted_at, defects, [], rng)
    which, at = versions.record, versions.updated_at
    now = payments.rows(which)
    is_paid, has_failed = now.paid_at <= at, now.failed_at <= at
    status = np.where(now.voided_at <= at, 3, np.where(is_paid, 1, np.where(has_failed, 2, 0)))
    usual = rng.choice(4, len(people.created_at), p=(0.5, 0.25, 0.15, 0.1))
    method = (usual[now.customer] + (edited_at[which] <= at)) % len(METHODS)
    columns = {
        "customer": pa.array(now.customer + 1),
        "type": coded(now.is_refund.astype(np.int64), ("charge", "refund")),
        "status": coded(status, ("pending", "succeeded", "failed", "void")),
        "amount": pa.array(now.amount),
        "discount": pa.array(now.discount, mask=now.discount == 0),
        "currency": coded(people.currency[now.customer], CURRENCIES),
        "method": coded(method, METHODS, dirt.some(count, RATES.missing_method, rng)[which]),
        "failed_attempts": pa.array(np.where(has_failed, now.failed_attempts, 0)),
        "created_at": pa.array(now.created_at),
        "due_at": pa.array(now.due_at, mask=now.due_at == NEVER),
        "paid_at": known_moments(now.paid_at, at),
        "failed_at": known_moments(now.failed_at, at),
    }
    return version_table(versions, columns)


def event_versions(history: History, rng: np.random.Generator) -> pa.Table:
    """The events' versions, robots' events among them; none for a company that records no events."""
    true = history.events
    robots, robots_deleted_at = dirt.robot_events(true, rng)
    events = Events.joined([true, robots])
    deleted_at = np.concatenate([nevers(len(true)), robots_deleted_at])
    order = np.lexsort((events.customer, events.occurred_at))
    return _event_table(events.rows(order), deleted_at[order], rng)


def _event_table(events: Events, deleted_at: Ints, rng: np.random.Generator) -> pa.Table:
    recorded_at = dirt.late_events(events.occurred_at, rng)
    edited_at = dirt.late_edits(recorded_at, RATES.late_event_edits, rng)
    moments = [recorded_at, edited_at, *dirt.batch_edits("events", recorded_at, rng)]
    defects = [Defect.NO_CUSTOMER, Defect.AMOUNT_NO_NUMBER, Defect.UNREADABLE_DATE]
    versions = list_versions(moments, deleted_at, defects, [], rng)
    which, at = versions.record, versions.updated_at
    now = events.rows(which)
    # An edit corrects how long it took.
    amount = np.where(edited_at[which] <= at, np.maximum(now.amount // 2, 50), now.amount)
    device = rng.choice(len(DEVICES), len(events), p=(0.7, 0.2, 0.1))[which]
    columns = {
        "customer": pa.array(now.customer + 1),
        "name": coded(now.kind, EVENT_NAMES),
        "amount": pa.array(amount, mask=now.kind != SESSION),
        "created_at": pa.array(now.occurred_at),
        "custom": coded(device, [_json({"device": each}) for each in DEVICES]),
    }
    return version_table(versions, columns)


def _custom(company: Company, first: Ints, second: Ints, grade: Ints) -> pa.Array:
    """The customer's custom fields as JSON text: one that is fixed, one that changes, and the grade that was given."""
    first_name, firsts, second_name, seconds_ = TRAITS[company.kind]
    first_values: list[dict[str, Any]] = [{}, *({first_name: each} for each in firsts)]
    grades: list[dict[str, Any]] = [{}, *({"nps": each} for each in range(11))]
    texts = [
        _json(first_trait | {second_name: each} | given)
        for first_trait in first_values
        for each in seconds_
        for given in grades
    ]
    code = ((first - NO_TRAIT) * len(seconds_) + second) * len(grades) + grade - NO_GRADE
    return pa.DictionaryArray.from_arrays(pa.array(code.astype(np.int16)), pa.array(texts))


def _json(value: dict[str, Any]) -> str:
    return orjson.dumps(value).decode()
