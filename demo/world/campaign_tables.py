"""From campaigns and sends to the CRM's record versions, as tables.py makes those of the other entities."""

import numpy as np
import pyarrow as pa

from demo.world import dirt
from demo.world.campaigns import KINDS
from demo.world.dirt import RATES, Defect
from demo.world.moments import NEVER, Ints
from demo.world.records import Campaigns, Sends, nevers
from demo.world.versions import known_moments, list_versions, version_table


def campaign_versions(campaigns: Campaigns, rng: np.random.Generator) -> pa.Table:
    """The campaigns' versions; a planned one stands there before it starts."""
    versions = list_versions([campaigns.announced_at], nevers(len(campaigns)), [], [], rng)
    which = versions.record
    kind = campaigns.kind[which]
    columns = {
        **{name: pa.array([getattr(KINDS[place], name) for place in kind]) for name in ("name", "channel", "kind")},
        "cost_per_send": pa.array(np.array([each.cost for each in KINDS])[kind]),
        "discount_share": pa.array(np.array([round(100 * each.discount) for each in KINDS])[kind]),
        "starts_at": pa.array(campaigns.starts_at[which]),
        "ends_at": pa.array(campaigns.ends_at[which]),
    }
    return version_table(versions, columns)


def send_versions(sends: Sends, deleted_at: Ints, rng: np.random.Generator) -> pa.Table:
    """The sends' versions. `deleted_at`, one per customer: who is deleted is sent nothing any more."""
    sends = sends.rows(sends.sent_at < deleted_at[sends.customer])
    sends = sends.rows(np.lexsort((sends.customer, sends.sent_at)))
    edited_at = dirt.late_edits(sends.sent_at, RATES.late_send_edits, rng)
    moments = [sends.sent_at, sends.opened_at, sends.clicked_at, sends.responded_at, sends.unsubscribed_at, edited_at]
    moments += dirt.batch_edits("sends", sends.sent_at, rng)
    versions = list_versions(moments, nevers(len(sends)), [Defect.NO_CUSTOMER], [], rng)
    which, at = versions.record, versions.updated_at
    now = sends.rows(which)
    has_answered = (now.responded_at != NEVER) & (now.responded_at <= at)
    columns = {
        "campaign": pa.array(now.campaign + 1),
        "customer": pa.array(now.customer + 1),
        "is_control": pa.array(now.is_control),
        "revenue": pa.array(now.revenue, mask=~has_answered),
        "sent_at": pa.array(now.sent_at),
        "opened_at": known_moments(now.opened_at, at),
        "clicked_at": known_moments(now.clicked_at, at),
        "responded_at": known_moments(now.responded_at, at),
        "unsubscribed_at": known_moments(now.unsubscribed_at, at),
    }
    return version_table(versions, columns)
