"""An administrator's API key of our own, so that no later command needs a person's password."""

import time
from collections.abc import Callable
from dataclasses import replace

from pipeline.integrations.metabase.client import MetabaseClient, access_of
from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.errors import MetabaseNotReady
from pipeline.integrations.metabase.permissions import is_administrators
from warehouse.settings import Settings

KEY_NAME = "Churn Warehouse"


def make_api_key(settings: Settings, *, sleep: Callable[[float], None] = time.sleep) -> str:
    """The key, which Metabase shows only now; one that was made before is worth nothing from then on.

    Signs in with the user name and password, and sets a fresh Metabase up first. Raises MetabaseNotReady without them,
    other MetabaseError children for what Metabase refuses.
    """
    if settings.metabase_url is None:
        raise MetabaseNotReady("CHURN_METABASE_URL is not set: there is no Metabase to make a key in.")
    access = replace(access_of(settings), api_key=None)
    with MetabaseClient(access, sleep=sleep) as client:
        client.sign_in(site_name=load_definitions().warehouse.site_name)
        known = [key for key in client.get("/api/api-key") if key["name"] == KEY_NAME]
        if known:
            return str(client.put(f"/api/api-key/{known[0]['id']}/regenerate", {})["unmasked_key"])
        group = next(group for group in client.get("/api/permissions/group") if is_administrators(group))
        made = client.post("/api/api-key", {"group_id": group["id"], "name": KEY_NAME})
        return str(made["unmasked_key"])
