"""Salesforce's REST API as its documentation has it: SOQL by queryAll, nextRecordsUrl, client credentials.

A query is taken apart as far as the preset may ask it; what is not understood is refused as MALFORMED_QUERY.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.pipeline.connectors.stand_ins.server import Answer, Asked, Strict

CLIENT = "3MVG9-of-the-stand-in"
SECRET = "client-secret-of-salesforce"
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
VERSION = "/services/data/v62.0"
SOQL = re.compile(
    r"SELECT (?P<fields>[\w, .]+) FROM (?P<kind>\w+) WHERE SystemModstamp >= (?P<since>[\dT:-]+Z)"
    r" ORDER BY SystemModstamp, Id"
)
STANDARD = {
    "Account": {"Name", "Phone", "Type", "BillingCountry", "AccountSource"},
    "Contact": {"Name", "Email", "Phone", "MailingCountry", "LeadSource"},
    "Case": {"AccountId", "ContactId", "ClosedDate", "Subject", "Type", "Priority", "Status", "Origin"},
    "Opportunity": {"AccountId", "Amount", "CloseDate", "IsWon", "Type"},
}
ALWAYS = {"Id", "IsDeleted", "SystemModstamp", "CreatedDate"}


def at(days_ago: float) -> str:
    """So many days before NOW, as Salesforce writes it."""
    return f"{NOW - timedelta(days=days_ago):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "+0000"


@dataclass
class Salesforce(Strict):
    """An org. objects: by kind and id; custom: fields of its own by kind; a token is good for so many requests."""

    objects: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {kind: {} for kind in STANDARD})
    custom: dict[str, set[str]] = field(default_factory=lambda: {"Account": {"Churned_On__c", "Plan__c"}})
    page_size: int = 2000
    expires_after: int = 1_000_000
    tokens: int = 0
    left: int = 0
    results: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def put(self, kind: str, identifier: str, changed_days_ago: float, /, **content: Any) -> None:
        """Store a record, new or changed."""
        known = self.objects[kind].get(identifier, {"Id": identifier, "CreatedDate": at(200), "IsDeleted": False})
        self.objects[kind][identifier] = {**known, "SystemModstamp": at(changed_days_ago), **content}

    def respond(self, asked: Asked) -> Answer:
        if asked.path == "/services/oauth2/token" and asked.method == "POST":
            return self._token(asked.body)
        if asked.headers.get("authorization") != f"Bearer 00D-token-{self.tokens}" or self.left <= 0:
            return refusal(401, "INVALID_SESSION_ID", "Session expired or invalid")
        self.left -= 1
        if asked.path == f"{VERSION}/queryAll" and asked.params.keys() == {"q"}:
            return self._query(asked.params["q"])
        if asked.path.startswith(f"{VERSION}/query/"):
            return self._page(asked.path.rsplit("/", 1)[1])
        return refusal(404, "NOT_FOUND", "The requested resource does not exist")

    def _token(self, form: dict[str, str]) -> Answer:
        wanted = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
        if form != wanted:
            return 400, {}, {"error": "invalid_client", "error_description": "invalid client credentials"}
        self.tokens += 1
        self.left = self.expires_after
        token = {"access_token": f"00D-token-{self.tokens}", "instance_url": self.url, "token_type": "Bearer"}
        return 200, {}, token | {"issued_at": "1748779200000", "signature": "s"}

    def _query(self, soql: str) -> Answer:
        parsed = SOQL.fullmatch(soql)
        if parsed is None:
            return refusal(400, "MALFORMED_QUERY", f"unexpected token in {soql}")
        kind, fields = parsed["kind"], [name.strip() for name in parsed["fields"].split(",")]
        known = ALWAYS | STANDARD.get(kind, set()) | self.custom.get(kind, set())
        if unknown := [name for name in fields if name not in known]:
            return refusal(400, "INVALID_FIELD", f"No such column '{unknown[0]}' on entity '{kind}'")
        since = datetime.fromisoformat(parsed["since"])
        found = sorted(
            (each for each in self.objects[kind].values() if datetime.fromisoformat(each["SystemModstamp"]) >= since),
            key=lambda each: (each["SystemModstamp"], each["Id"]),
        )
        locator = f"01gRO{len(self.results):04}"
        self.results[locator] = [
            {"attributes": {"type": kind}} | {name: each.get(name) for name in fields} for each in found
        ]
        return self._page(f"{locator}-0")

    def _page(self, place: str) -> Answer:
        """Of a result that stays as it was when the query ran."""
        self.page_begins()
        locator, start = place.split("-")
        found = self.results[locator]
        end = int(start) + self.page_size
        page: dict[str, Any] = {"totalSize": len(found), "records": found[int(start) : end], "done": end >= len(found)}
        if not page["done"]:
            page["nextRecordsUrl"] = f"{VERSION}/query/{locator}-{end}"
        return 200, {}, page


def refusal(status: int, code: str, message: str) -> Answer:
    """An error as Salesforce words it."""
    return status, {}, [{"errorCode": code, "message": message}]


def account() -> Salesforce:
    """Accounts, contacts, cases and opportunities, in pages of 10."""
    org = Salesforce(page_size=10)
    for number in range(1, 36):
        org.put("Account", f"001{number:012}AAA", 100 - number, Name=f"Account {number}", BillingCountry="Germany")
        org.put("Contact", f"003{number:012}AAA", 100 - number, Name=f"Ann {number}", Email=f"a{number}@example.com")
    for number in range(1, 48):
        owner = f"{number % 30 + 1:012}AAA"
        org.put(
            "Case", f"500{number:012}AAA", 90 - number, AccountId=f"001{owner}", ContactId=f"003{owner}",
            Subject="Help", Status="Closed", Origin="Email", ClosedDate=at(10),
        )  # fmt: skip
    for number in range(1, 16):
        org.put(
            "Opportunity", f"006{number:012}AAA", 50, AccountId=f"001{number:012}AAA", Amount=1200.5,
            CloseDate="2025-04-10", IsWon=number != 7,
        )  # fmt: skip
    org.put("Case", "500000000000001AAA", 5, AccountId=None, ContactId=None)
    return org
