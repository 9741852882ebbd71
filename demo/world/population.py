"""Who the customers are: names, addresses, countries. None of it causes anything."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from demo.world.companies import Company
from demo.world.moments import Floats, Ints

Texts = npt.NDArray[Any]


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COUNTRIES = ("DE", "FR", "NL", "ES", "IT", "GB", "US", "CH")
COUNTRY_CURRENCY = (0, 0, 0, 0, 0, 1, 2, 3)
CURRENCIES = ("EUR", "GBP", "USD", "CHF")
#: What one euro costs; the world knows no other exchange rates.
EURO_RATES = (1.00, 0.86, 1.09, 0.95)
TIME_ZONES = (
    "Europe/Berlin",
    "Europe/Paris",
    "Europe/Amsterdam",
    "Europe/Madrid",
    "Europe/Rome",
    "Europe/London",
    "America/New_York",
    "Europe/Zurich",
)
DIAL_CODES = ("+49", "+33", "+31", "+34", "+39", "+44", "+1", "+41")
SIGNUP_CHANNELS = ("website", "referral", "partner", "sales", "event")

FIRST_NAMES = _names(
    "Zoë Łukasz Søren Aoife José Nguyễn Ана Иван Ελένη Müge François Jürgen Ingrid Priya Chloë Mateus Noor "
    "Björn Siobhán Renée Amélie Grace Oliver Emma Liam Sofia Hugo Ines Marta Tomáš 美咲 伟 فاطمة محمد"
)
LAST_NAMES = _names(
    "Müller Dvořák Åkesson O’Brien García Nguyễn Петрова Papadópoulos Yılmaz Lefèvre Groß Østergård Sharma "
    "Brontë Gonçalves Haddad Lindström Nowak Smith Jones Rossi Bianchi Peeters Keller Weber Moreau 佐藤 王 العلي"
)
FIRM_NAMES = _names(
    "Nordlicht Café Bäckerei Atelier Zürcher Señora Kiosk Blå Façade Hafen Maple Crown Falcon Verde Soleil "
    "Ponte Lumière Fjord Granit Tulip Amber Copper Harbour Meadow Orchid"
)
FIRM_KINDS = ("GmbH", "SARL", "BV", "S.L.", "S.p.A.", "Ltd", "Inc.", "AG")


@dataclass
class People:
    """The lasting attributes of customers, one entry each; codes index the tuples of this module."""

    created_at: Ints
    country: Ints
    currency: Ints
    signup_channel: Ints
    name: Texts
    email: Texts
    later_email: Texts
    phone: Texts
    first_trait: Ints
    second_trait: Ints

    def chosen(self, rows: Ints) -> "People":
        """The people of these rows, in this order."""
        return People(**{name: values[rows] for name, values in vars(self).items()})


def draw_people(company: Company, created_at: Ints, rng: np.random.Generator) -> People:
    """People for these sign-up moments; more than half live where the company's currency is paid."""
    count = len(created_at)
    at_home = np.array([CURRENCIES[code] == company.currency for code in COUNTRY_CURRENCY], dtype=np.float64)
    shares = 0.6 * at_home / at_home.sum() + 0.4 / len(COUNTRIES)
    country = rng.choice(len(COUNTRIES), count, p=shares).astype(np.int64)
    number = rng.integers(1000, 9_999_999, count)
    name = _firms(country, rng) if company.kind == "subscriptions" else _persons(count, rng)
    local = [
        f"{prefix}.{each}" for prefix, each in zip(rng.choice(("hello", "info", "mail"), count), number, strict=True)
    ]
    return People(
        created_at=created_at,
        country=country,
        currency=np.array(COUNTRY_CURRENCY)[country],
        signup_channel=rng.choice(len(SIGNUP_CHANNELS), count, p=(0.5, 0.2, 0.1, 0.15, 0.05)).astype(np.int64),
        name=name,
        email=np.array([f"{each}@mail.example" for each in local], dtype=object),
        later_email=np.array([f"{each}@new.example" for each in local], dtype=object),
        phone=np.array(
            [f"{DIAL_CODES[code]} {each:07d}" for code, each in zip(country, number, strict=True)],
            dtype=object,
        ),
        first_trait=rng.integers(0, 6, count),
        second_trait=rng.integers(0, 4, count),
    )


def price_factor(company: Company, people: People) -> Floats:
    """What a unit of the company's currency costs in each customer's currency."""
    rates = np.array(EURO_RATES) / EURO_RATES[CURRENCIES.index(company.currency)]
    factors: Floats = rates[people.currency]
    return factors


def _persons(count: int, rng: np.random.Generator) -> Texts:
    first, last = rng.choice(FIRST_NAMES, count), rng.choice(LAST_NAMES, count)
    return np.array([f"{given} {family}" for given, family in zip(first, last, strict=True)], dtype=object)


def _firms(country: Ints, rng: np.random.Generator) -> Texts:
    names, owners = rng.choice(FIRM_NAMES, len(country)), rng.choice(LAST_NAMES, len(country))
    return np.array(
        [f"{name} {owner} {FIRM_KINDS[code]}" for name, owner, code in zip(names, owners, country, strict=True)],
        dtype=object,
    )
