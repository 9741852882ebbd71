"""Campaigns of a company, and what they do to its customers. What would have happened without them is drawn elsewhere.

Each customer is one of three kinds for life: most are indifferent, some buy because they were sent something, and a
few stay away because of it. Each campaign leaves some of its audience out by chance, so that its effect can be known.
The draws are of a stream of their own: without campaigns the same customers live the same lives.
"""

from dataclasses import dataclass, field

import numpy as np

from demo.world.companies import Marketing
from demo.world.moments import DAY, HOUR, MINUTE, NEVER, Bools, Floats, Ints
from demo.world.records import Campaigns, Payments, Sends, Truth, first_event_after, nevers

WINDOW_DAYS = 14
"""How long a send works, and how long after it a purchase counts as an answer."""
ANNOUNCED_DAYS = 21
"""How long before its start a campaign stands in the CRM."""
GROUPS = ("indifferent", "persuadable", "driven_away")
INDIFFERENT, PERSUADABLE, DRIVEN_AWAY = range(len(GROUPS))
#: How often each group opens what it is sent, and unsubscribes once it has opened.
OPEN_RATES = np.array([0.28, 0.50, 0.32])
UNSUBSCRIBED_SHARES = np.array([0.004, 0.001, 0.05])
CLICKED_SHARE = 0.3
#: Of sends that brought a purchase, those that the CRM saw opened and clicked.
NOTICED_SHARE = 0.9


@dataclass(frozen=True, kw_only=True)
class CampaignKind:
    """One of the campaigns that take turns. Cost in hundredths; `strength` multiplies what a send does."""

    name: str
    channel: str
    kind: str
    cost: int
    discount: float
    strength: float


KINDS = (
    CampaignKind(name="News of the month", channel="email", kind="newsletter", cost=4, discount=0.0, strength=0.7),
    CampaignKind(name="Ten off", channel="email", kind="offer", cost=4, discount=0.1, strength=1.0),
    CampaignKind(name="Short message", channel="sms", kind="offer", cost=11, discount=0.15, strength=1.3),
)


@dataclass(frozen=True)
class Shoppers:
    """A company's customers at the start of a month; every array has one entry per customer.

    `rate` is of paid purchases a day, `basket` what one costs in the customer's currency (hundredths), `price_factor`
    what a unit of the company's currency costs in it.
    """

    created_at: Ints
    rate: Floats
    basket: Floats
    price_factor: Floats


@dataclass
class Answers:
    """How customers take campaigns, one entry per customer, and what was sent so far, one entry per campaign.

    `appetite` is how many purchases a send of strength 1 brings on average.
    """

    marketing: Marketing
    rng: np.random.Generator
    group: Ints
    appetite: Floats
    open_rate: Floats
    unsubscribed_at: Ints
    campaigns: list[Campaigns] = field(default_factory=list)
    sends: list[Sends] = field(default_factory=list)
    truth: list[Truth] = field(default_factory=list)


def begin_marketing(marketing: Marketing, count: int, rng: np.random.Generator) -> Answers:
    """Draw what kind of customer each of `count` is."""
    shares = (marketing.persuadable_share, marketing.driven_away_share)
    group = rng.choice(len(GROUPS), count, p=(1 - sum(shares), *shares))
    appetite = np.clip(marketing.extra_purchases * rng.lognormal(0, 0.4, count), 0.15, 1.2)
    return Answers(
        marketing=marketing,
        rng=rng,
        group=group,
        appetite=np.where(group == PERSUADABLE, appetite, 0.0),
        open_rate=np.clip(OPEN_RATES[group] * rng.lognormal(0, 0.3, count), 0.02, 0.95),
        unsubscribed_at=nevers(count),
    )


def expected_purchases(answers: Answers) -> Floats:
    """A rate at which campaigns yet to be drawn make each customer buy, per month: that of some purchase at all."""
    marketing = answers.marketing
    is_sent = marketing.audience_share * (1 - marketing.control_share) * (answers.unsubscribed_at == NEVER)
    strength = np.mean([kind.strength for kind in KINDS])
    rate: Floats = -np.log1p(-is_sent * -np.expm1(-answers.appetite * strength))
    return rate


def send_campaign(answers: Answers, shoppers: Shoppers, unasked: Payments, start: int) -> Payments:
    """Send the campaign of the month that begins at `start`, and note what becomes of it.

    `unasked` are the month's payments without it; returns those there are with it.
    """
    number = len(answers.campaigns)
    kind = KINDS[number % len(KINDS)]
    starts_at = start + (2 + number % 6) * DAY + 9 * HOUR
    answers.campaigns.append(
        Campaigns(
            announced_at=np.array([starts_at - ANNOUNCED_DAYS * DAY]),
            starts_at=np.array([starts_at]),
            ends_at=np.array([starts_at + WINDOW_DAYS * DAY]),
            kind=np.array([number % len(KINDS)]),
        )
    )
    sends = _address(answers, shoppers.created_at < start, number, starts_at)
    lost_share = min(1.0, answers.marketing.lost_share * kind.strength)
    kept = unasked.rows(~_stays_away(answers, sends, unasked, lost_share))
    brought = _persuade(answers, shoppers, sends, kind)
    payments = Payments.joined([kept, brought])
    _note_engagement(answers, sends, brought)
    _note_responses(sends, payments, shoppers.price_factor)
    answers.sends.append(sends)
    answers.truth.append(_true_effects(answers, shoppers, sends, payments, kind.strength, lost_share))
    return payments


def _address(answers: Answers, is_customer: Bools, number: int, starts_at: int) -> Sends:
    """Choose who is sent the campaign, and by chance who of them is left out."""
    rng, marketing = answers.rng, answers.marketing
    may_be_sent = is_customer & (answers.unsubscribed_at == NEVER)
    customer = np.flatnonzero(may_be_sent & (rng.random(len(is_customer)) < marketing.audience_share))
    count = len(customer)
    return Sends(
        customer=customer,
        campaign=np.full(count, number),
        sent_at=starts_at + rng.integers(0, 5 * HOUR, count),
        opened_at=nevers(count),
        clicked_at=nevers(count),
        responded_at=nevers(count),
        unsubscribed_at=nevers(count),
        revenue=np.zeros(count, dtype=np.int64),
        is_control=rng.random(count) < marketing.control_share,
    )


def _stays_away(answers: Answers, sends: Sends, unasked: Payments, lost_share: float) -> Bools:
    """Which of the month's payments are not made, because somebody was sent what drives them away."""
    is_lost = ~sends.is_control & (answers.group[sends.customer] == DRIVEN_AWAY)
    is_lost &= answers.rng.random(len(sends)) < lost_share
    sent_at = nevers(len(answers.group))
    sent_at[sends.customer[is_lost]] = sends.sent_at[is_lost]
    stays_away: Bools = (unasked.paid_at != NEVER) & _is_in_window(unasked.created_at, sent_at[unasked.customer])
    return stays_away


def _is_in_window(at: Ints, sent_at: Ints) -> Bools:
    """Whether each moment lies in the days in which a send works; NEVER was not sent."""
    return (at >= sent_at) & (at - WINDOW_DAYS * DAY < sent_at)


def _persuade(answers: Answers, shoppers: Shoppers, sends: Sends, kind: CampaignKind) -> Payments:
    """What those buy, at the campaign's discount and from the third day on, who would not have without a send."""
    rng = answers.rng
    purchases = rng.poisson(answers.appetite[sends.customer] * kind.strength) * ~sends.is_control
    customer, sent_at = np.repeat(sends.customer, purchases), np.repeat(sends.sent_at, purchases)
    count = len(customer)
    at = sent_at + rng.integers(2 * DAY, WINDOW_DAYS * DAY, count)
    price = np.maximum(np.rint(shoppers.basket[customer] * rng.lognormal(0, 0.25, count)), 199).astype(np.int64)
    discount = np.rint(price * kind.discount).astype(np.int64)
    return Payments(
        customer=customer,
        created_at=at,
        due_at=at,
        paid_at=at + rng.integers(5, 3 * MINUTE, count),
        failed_at=nevers(count),
        voided_at=nevers(count),
        failed_attempts=np.zeros(count, dtype=np.int64),
        amount=price - discount,
        discount=discount,
        is_refund=np.zeros(count, dtype=np.bool_),
    )


def _note_engagement(answers: Answers, sends: Sends, brought: Payments) -> None:
    """Who opens and clicks within two days, those first whom it made buy; and who has had enough."""
    rng, count = answers.rng, len(sends)
    is_noticed = np.isin(sends.customer, brought.customer) & (rng.random(count) < NOTICED_SHARE)
    is_opened = ((rng.random(count) < answers.open_rate[sends.customer]) | is_noticed) & ~sends.is_control
    is_clicked = is_opened & ((rng.random(count) < CLICKED_SHARE) | is_noticed)
    opened_at = sends.sent_at + rng.integers(5 * MINUTE, 36 * HOUR, count)
    sends.opened_at = np.where(is_opened, opened_at, NEVER)
    sends.clicked_at = np.where(is_clicked, opened_at + rng.integers(5, 30 * MINUTE, count), NEVER)
    has_enough = is_opened & (rng.random(count) < UNSUBSCRIBED_SHARES[answers.group[sends.customer]])
    sends.unsubscribed_at = np.where(has_enough, opened_at + rng.integers(MINUTE, HOUR, count), NEVER)
    answers.unsubscribed_at[sends.customer[has_enough]] = sends.unsubscribed_at[has_enough]


def _note_responses(sends: Sends, payments: Payments, price_factor: Floats) -> None:
    """What the CRM takes for answers: the first paid purchase after a click, whether the send caused it or not."""
    paid = payments.rows(payments.paid_at != NEVER)
    clicked = np.flatnonzero(sends.clicked_at != NEVER)
    paid_at = first_event_after(paid.customer, paid.paid_at, sends.customer[clicked], sends.clicked_at[clicked])
    is_answer = paid_at < sends.sent_at[clicked] + WINDOW_DAYS * DAY
    answered = clicked[is_answer]
    amounts = dict(zip(zip(paid.customer.tolist(), paid.paid_at.tolist(), strict=True), paid.amount, strict=True))
    sends.responded_at[answered] = paid_at[is_answer]
    keys = zip(sends.customer[answered].tolist(), sends.responded_at[answered].tolist(), strict=True)
    worth = np.array([amounts[key] for key in keys], dtype=np.float64)
    sends.revenue[answered] = np.rint(worth / price_factor[sends.customer[answered]])


def _true_effects(
    answers: Answers, shoppers: Shoppers, sends: Sends, payments: Payments, strength: float, lost_share: float
) -> Truth:
    """Per customer of the audience how likely a paid purchase within the window was, if sent and if not."""
    customer = sends.customer
    group = answers.group[customer]
    if_left_alone = -np.expm1(-shoppers.rate[customer] * WINDOW_DAYS)
    if_sent = 1 - (1 - if_left_alone) * np.exp(-answers.appetite[customer] * strength)
    if_sent = np.where(group == DRIVEN_AWAY, if_left_alone * (1 - lost_share), if_sent)
    sent_at = nevers(len(answers.group))
    sent_at[customer] = sends.sent_at
    is_bought = (payments.paid_at != NEVER) & _is_in_window(payments.created_at, sent_at[payments.customer])
    return {
        "customer": customer,
        "campaign": sends.campaign,
        "is_control": sends.is_control,
        "group": group,
        "probability_if_sent": if_sent,
        "probability_if_left_alone": if_left_alone,
        "effect": if_sent - if_left_alone,
        "bought": np.isin(customer, payments.customer[is_bought]),
    }
