"""``/api/queue``: what is delivered to others, and what is not yet."""

from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web
from multidict import MultiMapping

from hilum.core.errors import Invalid
from hilum.http.answers import success
from hilum.http.parameters import single, whole
from hilum.index.queued import Away, Entry, State, Summary
from hilum.services.queue_view import QueueView

_LIMIT: Final = 50
_LARGEST_LIMIT: Final = 1000
_LARGEST_OFFSET: Final = 2**31 - 1


class Queues:
    """Shows the queue, tries again, removes."""

    def __init__(self, queue: QueueView) -> None:
        self._queue = queue

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.get("/api/queue", self._list),
            web.post("/api/queue/retry", self._retry_all),
            web.delete("/api/queue", self._remove_all),
            web.get("/api/queue/{delivery_id}", self._one),
            web.post("/api/queue/{delivery_id}/retry", self._retry),
            web.delete("/api/queue/{delivery_id}", self._remove),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        given = single(request.query, ("subscription", "limit", "offset"))
        states = _states(request.query)
        subscription = given.get("subscription")
        limit = whole("limit", given.get("limit", str(_LIMIT)), 0, _LARGEST_LIMIT)
        offset = whole("offset", given.get("offset", "0"), 0, _LARGEST_OFFSET)
        entries = await self._queue.page(states, subscription, limit, offset) if limit else []
        summaries = await self._queue.summaries()
        counted = [each for each in summaries if subscription in {None, each.name}]
        total = sum(each.counts[state] for each in counted for state in states or State)
        return success(
            [entry_json(each) for each in entries],
            total=total,
            limit=limit,
            offset=offset,
            subscriptions=[summary_json(each) for each in summaries],
        )

    async def _one(self, request: web.Request) -> web.Response:
        return success(entry_json(await self._queue.entry(request.match_info["delivery_id"])))

    async def _retry(self, request: web.Request) -> web.Response:
        delivery_id = request.match_info["delivery_id"]
        await self._queue.retry(delivery_id)
        return success(entry_json(await self._queue.entry(delivery_id)))

    async def _retry_all(self, request: web.Request) -> web.Response:
        given = single(request.query, ("subscription",))
        return success({"retried": await self._queue.retry_all(given.get("subscription"))})

    async def _remove(self, request: web.Request) -> web.Response:
        await self._queue.remove(request.match_info["delivery_id"])
        return success({"removed": 1})

    async def _remove_all(self, request: web.Request) -> web.Response:
        given = single(request.query, ("subscription",))
        if "subscription" not in given:
            raise Invalid("subscription is missing: whose deliveries to remove")
        removed = await self._queue.remove_all(given["subscription"], _states(request.query))
        return success({"removed": removed})


def _states(parameters: MultiMapping[str]) -> list[State]:
    given = single(parameters, ("state",)).get("state", "")
    try:
        return [State(each.strip()) for each in given.split(",") if each.strip()]
    except ValueError:
        raise Invalid(f"state must be among {', '.join(State)}, not {given[:40]!r}") from None


def entry_json(entry: Entry) -> dict[str, Any]:
    """Return a delivery as the queue shows it."""
    return {
        "id": entry.id,
        "subscription": entry.subscription,
        "state": entry.state.value,
        "attempts": entry.attempts,
        "error": entry.error,
        "queuedAt": _time(entry.queued_at),
        "dueAt": _time(entry.due_at) if entry.state is State.WAITING else None,
        "finishedAt": entry.finished_at and _time(entry.finished_at),
        "event": entry.event.as_json(),
    }


def summary_json(summary: Summary) -> dict[str, Any]:
    """Return a subscription as the queue shows it."""
    oldest = summary.oldest_at
    return {
        "name": summary.name,
        "describe": summary.describe,
        "active": summary.active,
        "cursor": summary.cursor,
        **{state.value: summary.counts[state] for state in State},
        "oldestSeconds": oldest and round((datetime.now(UTC) - oldest).total_seconds(), 1),
        "away": summary.away and _away_json(summary.away),
    }


def _away_json(away: Away) -> dict[str, Any]:
    return {
        "since": _time(away.since),
        "attempts": away.attempts,
        "probeAt": _time(away.probe_at),
        "error": away.reason,
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
