"""The stand-in refuses what Metabase refuses."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.integrations.metabase.errors import MetabaseError, MetabaseRefused
from tests.integration.pipeline.integrations.metabase.stand_in.server import StandIn


@pytest.mark.usefixtures("applied")
def test_the_stand_in_refuses_what_metabase_refuses(metabase: StandIn, url: str) -> None:
    assert issubclass(MetabaseRefused, MetabaseError)
    dashboard_id = next(iter(metabase.dashboards))
    headers = {"X-Metabase-Session": next(iter(metabase.sessions))}

    def status(method: str, path: str, body: dict[str, Any]) -> int:
        return metabase.answer(method, path, headers, body)[0]

    card = {"name": "X", "display": "table", "dataset_query": {}}
    assert status("POST", "/api/card", card) == 400
    assert status("POST", "/api/card", card | {"visualization_settings": {}}) == 500
    assert status("POST", f"/api/dashboard/{dashboard_id}/cards", {}) == 404
    assert status("PUT", f"/api/dashboard/{dashboard_id}/cards", {}) == 404
    dashcard = {"id": -1, "card_id": next(iter(metabase.cards)), "row": 0, "col": 0, "size_x": 4, "size_y": 4}
    mapping = {"parameter_id": "plan", "target": ["dimension", ["template-tag", "plan"]]}
    path = f"/api/dashboard/{dashboard_id}"
    assert status("PUT", path, {"dashcards": [dashcard | {"parameter_mappings": [mapping]}]}) == 400
    assert status("PUT", path, {"dashcards": [dashcard], "tabs": [{"id": -1, "name": "Now"}]}) == 400
    graph = {"revision": 0, "groups": {}}
    assert status("PUT", "/api/collection/graph", graph) == 409
    assert metabase.answer("GET", "/api/card/1", {}, {})[0] == 401
    alert = next(iter(metabase.alerts.values()))
    bare = {key: alert[key] for key in ("payload_type", "payload", "subscriptions", "handlers")}
    five_fields = [{"type": "notification-subscription/cron", "cron_schedule": "0 8 * * *"}]
    assert status("POST", "/api/notification", bare | {"subscriptions": five_fields}) == 400
    assert status("PUT", f"/api/notification/{alert['id']}", bare) == 400
    pulse = next(iter(metabase.pulses.values()))
    wrong_place = [pulse["cards"][0] | {"dashboard_card_id": pulse["cards"][0]["id"]}]
    body = {key: pulse[key] for key in ("name", "dashboard_id", "cards", "channels")}
    assert status("POST", "/api/pulse", body | {"cards": wrong_place}) == 400
    assert status("POST", "/api/pulse", body | {"parameters": [{"id": "plan", "value": ["Team"]}]}) == 402
    outsider = {"x-api-key": metabase.make_api_key({"group_id": 1, "name": "outsider"})["unmasked_key"]}
    assert metabase.answer("POST", f"/api/card/{next(iter(metabase.cards))}/query", outsider, {})[0] == 403
