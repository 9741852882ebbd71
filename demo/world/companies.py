"""The three companies as parameters, and the sizes a world can have. No simulation here."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from demo.world.moments import HISTORY_START, seconds


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One line of a price list: the price per seat and month, in hundredths of the company's currency."""

    name: str
    price: int
    share: float
    risk: float
    median_seats: float


@dataclass(frozen=True, kw_only=True)
class Drivers:
    """What moves the hidden hazard: the weight of each driver in its logarithm, per unit of the driver."""

    unsolved_tickets: float
    slow_tickets: float
    failed_payments: float
    late_payments: float
    falling_activity: float
    young_tenure: float
    price_rise: float


@dataclass(frozen=True, kw_only=True)
class Support:
    """How tickets arise and are solved. Hours are medians; each customer's trouble multiplies them."""

    tickets_per_month: float = 0.0
    tickets_per_purchase: float = 0.0
    first_response_hours: float = 3.0
    resolution_hours: float = 22.0
    stuck_share: float = 0.10
    reopened_share: float = 0.06
    trouble_spread: float = 0.6


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How a product is used at full activity. `spread` is that of the customers' lasting habits, in logarithms."""

    sessions_per_month: float
    median_minutes: float
    spread: float


@dataclass(frozen=True, kw_only=True)
class Marketing:
    """How a company sends campaigns, one a month, and how its customers take them.

    `audience_share` of those who may be sent to are chosen, and of these `control_share` are left out by chance.
    `extra_purchases` is how many purchases a send brings on average from one who can be persuaded; one who is driven
    away buys nothing after a send with the probability `lost_share`.
    """

    audience_share: float
    control_share: float
    persuadable_share: float
    driven_away_share: float
    extra_purchases: float
    lost_share: float


@dataclass(frozen=True, kw_only=True)
class CustomField:
    """A custom field of customers that the company wants in its predictions; `is_fixed`: it never changes."""

    name: str
    kind: Literal["number", "category", "flag"]
    is_fixed: bool
    label: str
    unit: str


@dataclass(frozen=True, kw_only=True)
class Company:
    """One company of the world. `kind` says which simulator runs it.

    `founded_at` is the first moment with records; `established_share` of the customers signed up before it.
    `further_tasks` are what is predicted for it besides churn, and `actions` what it can do for a customer, both as
    its definition says it.
    `usage` is that of its product; without it the company records no events and asks for no grades. Without
    `marketing` it sends no campaigns.
    `business_hours` are by weekday, from when to when in its time zone.
    """

    slug: str
    name: str
    kind: Literal["subscriptions", "purchases"]
    currency: str
    time_zone: str
    shares_training: bool
    customers: int
    founded_at: int
    established_share: float
    base_log_hazard: float
    drivers: Drivers
    support: Support
    failed_share: float
    late_share: float
    horizon_days: int
    business_hours: dict[str, tuple[str, str]]
    custom_fields: tuple[CustomField, ...]
    segment_by: str
    further_tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    actions: tuple[dict[str, Any], ...] = ()
    usage: Usage | None = None
    marketing: Marketing | None = None
    plans: tuple[Plan, ...] = ()
    price_rises: dict[int, float] = field(default_factory=dict)
    median_gap_days: float = 0.0
    median_basket: int = 0


def _month(year: int, month: int) -> int:
    return seconds(datetime(year, month, 1, tzinfo=UTC))


WORKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
INDUSTRY = CustomField(name="industry", kind="category", is_fixed=True, label="Industry", unit="name")

BRIGHTDESK = Company(
    slug="brightdesk",
    name="Brightdesk Software",
    kind="subscriptions",
    currency="EUR",
    time_zone="Europe/Berlin",
    shares_training=True,
    customers=1500,
    founded_at=HISTORY_START,
    established_share=0.40,
    base_log_hazard=-5.75,
    drivers=Drivers(
        unsolved_tickets=1.7,
        slow_tickets=0.75,
        failed_payments=1.4,
        late_payments=0.8,
        falling_activity=3.6,
        young_tenure=1.3,
        price_rise=0.6,
    ),
    support=Support(tickets_per_month=0.42),
    failed_share=0.035,
    late_share=0.09,
    horizon_days=30,
    business_hours=dict.fromkeys(WORKDAYS, ("09:00", "18:00")),
    custom_fields=(
        INDUSTRY,
        CustomField(name="nps", kind="number", is_fixed=False, label="Recommendation grade", unit="of 10"),
    ),
    segment_by="industry",
    further_tasks={"support": {"horizon_days": 14}},
    actions=(
        {
            "name": "call",
            "label": "A call by customer success",
            "channel": "call",
            "owner": "Customer success",
            "cost_per_contact": 25,
            "budget": 1500,
            "capacity": 60,
            "eligible": {"segments": ["vip", "steady", "at_risk"]},
            "saved_share": {"low": 0.1, "likely": 0.2, "high": 0.3},
        },
        {
            "name": "offer",
            "label": "A tenth less for three months",
            "channel": "email",
            "owner": "Marketing",
            "cost_per_contact": 1,
            "gives_price_share": 0.1,
            "gives_months": 3,
            "budget": 2000,
            "eligible": {"risk_levels": ["high", "medium"]},
            "saved_share": {"low": 0.15, "likely": 0.25, "high": 0.35},
            "explore_share": 0.1,
        },
    ),
    usage=Usage(sessions_per_month=2.6, median_minutes=22.0, spread=0.35),
    plans=(
        Plan(name="basic", price=1200, share=0.5, risk=0.7, median_seats=5),
        Plan(name="team", price=2400, share=0.35, risk=0.0, median_seats=10),
        Plan(name="business", price=4900, share=0.15, risk=-0.9, median_seats=24),
    ),
    price_rises={_month(2025, 5): 0.12, _month(2026, 4): 0.16},
)

MARKETLANE = Company(
    slug="marketlane",
    name="Marketlane Shop",
    kind="purchases",
    currency="GBP",
    time_zone="Europe/London",
    shares_training=True,
    customers=2000,
    founded_at=HISTORY_START,
    established_share=0.45,
    base_log_hazard=0.0,
    drivers=Drivers(
        unsolved_tickets=0.9,
        slow_tickets=0.5,
        failed_payments=0.7,
        late_payments=0.0,
        falling_activity=1.0,
        young_tenure=0.5,
        price_rise=0.35,
    ),
    support=Support(tickets_per_purchase=0.16, resolution_hours=30.0, stuck_share=0.14),
    failed_share=0.05,
    late_share=0.0,
    horizon_days=90,
    business_hours=dict.fromkeys((*WORKDAYS, "saturday"), ("08:00", "20:00")),
    custom_fields=(
        CustomField(
            name="favourite_department", kind="category", is_fixed=True, label="Favourite department", unit="name"
        ),
    ),
    segment_by="country",
    marketing=Marketing(
        audience_share=0.5,
        control_share=0.2,
        persuadable_share=0.18,
        driven_away_share=0.06,
        extra_purchases=0.5,
        lost_share=0.7,
    ),
    price_rises={_month(2025, 9): 0.07, _month(2026, 5): 0.10},
    median_gap_days=22.0,
    median_basket=3800,
)

SEEDLING = Company(
    slug="seedling",
    name="Seedling",
    kind="subscriptions",
    currency="CHF",
    time_zone="Europe/Zurich",
    shares_training=True,
    customers=90,
    founded_at=_month(2026, 2),
    established_share=0.0,
    base_log_hazard=-5.9,
    drivers=BRIGHTDESK.drivers,
    support=Support(tickets_per_month=0.5, stuck_share=0.06),
    failed_share=0.03,
    late_share=0.06,
    horizon_days=30,
    business_hours=dict.fromkeys(WORKDAYS, ("09:00", "17:00")),
    custom_fields=(INDUSTRY,),
    segment_by="country",
    plans=(
        Plan(name="starter", price=1900, share=0.7, risk=0.3, median_seats=4),
        Plan(name="pro", price=3900, share=0.3, risk=-0.3, median_seats=8),
    ),
)

COMPANIES: tuple[Company, ...] = (BRIGHTDESK, MARKETLANE, SEEDLING)

#: Customers at the starting clock in the whole world, by the name of a size.
SIZES: dict[str, int] = {"small": 690, "default": 3590, "large": 20_000, "huge": 200_000}


def customers_by_company(total: int) -> dict[str, int]:
    """Share `total` customers out: the young firm stays young, the others keep their proportion.

    Raises ValueError where the total is too small for three companies or beyond what was measured.
    """
    if not 300 <= total <= 200_000:
        raise ValueError(f"{total} customers: a world has between 300 and 200,000")
    rest = total - SEEDLING.customers
    bright = round(rest * BRIGHTDESK.customers / (BRIGHTDESK.customers + MARKETLANE.customers))
    return {BRIGHTDESK.slug: bright, MARKETLANE.slug: rest - bright, SEEDLING.slug: SEEDLING.customers}
