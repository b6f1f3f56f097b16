"""``/api/v1/reviews``, and asking for one: ``/api/v1/agents/{id}/reviews``."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from api.auth import CallerDep, SettingsDep, permit
from api.edge import EdgeRoute
from api.ids import parse_id
from api.paging import Before, Limit
from api.reviews.schemas import (
    ReviewDecision,
    ReviewDetail,
    ReviewList,
    ReviewPolicySet,
    ReviewPolicyView,
    ReviewRequest,
    ReviewStatus,
    ReviewView,
)
from api.reviews.service import ReviewService
from api.tenancy import Transaction

router = APIRouter(prefix="/api/v1", tags=["reviews"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep, settings: SettingsDep) -> ReviewService:
    return ReviewService(session, caller, settings)


Service = Annotated[ReviewService, Depends(_service)]


@router.post("/agents/{agent_id}/reviews", status_code=201, dependencies=[permit("review:request")])
async def request_review(agent_id: str, body: ReviewRequest, response: Response, service: Service) -> ReviewView:
    """Ask for a review of an agent's draft as it is now, or of one of its versions."""
    view = await service.request(parse_id("agent", agent_id), body)
    response.headers["location"] = f"/api/v1/reviews/{view.id}"
    return view


@router.get("/reviews", dependencies=[permit("review:read")])
async def list_reviews(
    service: Service,
    agent_id: UUID | None = None,
    status: ReviewStatus | None = None,
    before: Before = None,
    limit: Limit = 50,
) -> ReviewList:
    """Return reviews, the newest first."""
    return await service.page(agent_id=agent_id, status=status, before=before, limit=limit)


# Before `/reviews/{review_id}`.
@router.get("/reviews/policy", dependencies=[permit("review:read")])
async def get_review_policy(service: Service) -> ReviewPolicyView:
    """Say whether the organisation publishes only what was approved."""
    return await service.policy()


@router.put("/reviews/policy", dependencies=[permit("org:edit")])
async def set_review_policy(body: ReviewPolicySet, service: Service) -> ReviewPolicyView:
    """Have the organisation publish only what was approved, or everything."""
    return await service.set_policy(required=body.required)


@router.get("/reviews/{review_id}", response_model=ReviewDetail, dependencies=[permit("review:read")])
async def get_review(review_id: str, service: Service) -> Response:
    """Return a review with the workflow, what it depends on, and whether any of it changed since."""
    return Response(await service.detail(parse_id("review", review_id)), media_type="application/json")


@router.post("/reviews/{review_id}/decision", dependencies=[permit("review:decide")])
async def decide_review(review_id: str, body: ReviewDecision, service: Service) -> ReviewView:
    """Approve or reject. Nobody approves what they wrote themselves or asked a review for."""
    return await service.decide(parse_id("review", review_id), body)
