"""The feed over HTTP: pages since a cursor, and the same as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from foundation.errors import ChurnError
from serving.api.access import Reader, Reading, key_of
from serving.api.problems import Refused
from serving.api.scores import LARGEST_PAGE, TaskName, contract_of
from serving.api.shapes import Change, ChangePage
from warehouse.companies.api_keys import Access
from warehouse.publication.contract import Contract
from warehouse.publication.served import ends_of_feed, page_of_changes
from warehouse.session_pool import CompanyReader

POLL_SECONDS = 2.0
STREAMS_OF_A_KEY = 4
LARGEST_CURSOR = 2**63 - 1

router = APIRouter(prefix="/v1", tags=["changes"])
Since = Annotated[int, Query(ge=0, le=LARGEST_CURSOR, description="The cursor to go on from; 0 for all of it.")]


@router.get("/changes/{task}")
def list_changes(
    access: Reading,
    reader: Reader,
    task: TaskName,
    since: Since = 0,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Changes of a page.")] = 500,
) -> ChangePage:
    """What changed since a cursor, in the order of commits: no change appears behind your cursor.

    From 0 on it tells all that you need to begin with. 410: changes that you had not read were compacted; read from 0
    and replace what you hold.
    """
    return _page(reader, access, contract_of(task), since, limit)


@router.get(
    "/changes/{task}/stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events"}},
)
async def stream_changes(
    request: Request,
    access: Reading,
    reader: Reader,
    task: TaskName,
    since: Since = 0,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,18}$", description="As a browser sends it.")] = None,
) -> StreamingResponse:
    """The same as server-sent events, as they are published: one `change` each, whose id is the cursor."""
    contract = contract_of(task)
    begin = since if last_event_id is None else int(last_event_id)
    streams = request.app.state.streams
    if streams.get(access.key_prefix, 0) >= STREAMS_OF_A_KEY:
        raise Refused(429, "too-many-streams", "Too many streams of this key", headers={"Retry-After": "10"})
    first = await run_in_threadpool(_page, reader, access, contract, begin, LARGEST_PAGE)
    streams[access.key_prefix] = streams.get(access.key_prefix, 0) + 1
    events = _events(request, access, reader, contract, first)
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _events(
    request: Request, access: Access, reader: CompanyReader, contract: Contract, page: ChangePage
) -> AsyncIterator[str]:
    """Ends where the key does, or where the warehouse is away: the client comes again with the id that it has."""
    text = key_of(request)
    try:
        yield f"retry: {int(POLL_SECONDS * 1000)}\n\n"
        while True:
            for change in page.changes:
                yield f"id: {change.change_id}\nevent: change\ndata: {change.model_dump_json()}\n\n"
            if not page.has_more:
                yield ": still here\n\n"
                await asyncio.sleep(POLL_SECONDS)
            if await request.is_disconnected() or not await run_in_threadpool(
                request.app.state.desk.still_holds, access, text
            ):
                return
            page = await run_in_threadpool(_page, reader, access, contract, page.next_cursor, LARGEST_PAGE)
    except Refused as refused:
        yield f"event: problem\ndata: {refused.kind}\n\n"
    except (ChurnError, OSError):
        return
    finally:
        request.app.state.streams[access.key_prefix] -= 1


def _page(reader: CompanyReader, access: Access, contract: Contract, since: int, limit: int) -> ChangePage:
    with reader.reading(access) as connection:
        _, oldest = ends_of_feed(connection, contract, access.company_id)
        rows = page_of_changes(connection, contract, access.company_id, since, limit + 1)
    if 0 < since < oldest:
        raise Refused(
            410, "compacted", "Changes after this cursor were compacted", "Read from 0 and replace what you hold."
        )
    changes = [Change.model_validate(row) for row in rows[:limit]]
    following = changes[-1].change_id if changes else since
    return ChangePage(changes=changes, next_cursor=following, has_more=len(rows) > limit)
