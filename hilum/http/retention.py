"""``GET /api/retention/preview``: what retention would delete now, and why."""

from typing import Any, Final

from aiohttp import web

from hilum.http.answers import success
from hilum.services.retention_plan import Plan, Planner

#: Studies that are listed; all are counted.
_LISTED: Final = 1000


class RetentionRoutes:
    """Previews retention."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.get("/api/retention/preview", self._preview)]

    async def _preview(self, _request: web.Request) -> web.Response:
        return success(plan_json(await self._planner.plan()))


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON: nothing in it names a patient."""
    return {
        "studyCount": len(plan.doomed),
        "bytes": plan.size_bytes,
        "more": plan.more,
        "warnings": list(plan.warnings),
        "storeBytes": plan.store_bytes,
        "freeBytes": plan.free_bytes,
        "trashBytes": plan.trash_bytes,
        "studies": [
            {
                "studyInstanceUID": each.candidate.study_instance_uid,
                "orthancStudyId": each.candidate.study,
                "studyDate": each.candidate.study_date,
                "studyDescription": each.candidate.study_description,
                "modalities": list(each.candidate.modalities),
                "instanceCount": each.candidate.instances,
                "bytes": each.candidate.size_bytes,
                "receivedAt": each.candidate.received_at.isoformat(),
                "updatedAt": each.candidate.updated_at.isoformat(),
                "rule": each.rule.value,
                "reason": each.reason,
            }
            for each in plan.doomed[:_LISTED]
        ],
    }
