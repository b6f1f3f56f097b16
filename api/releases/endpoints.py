"""``/runtime/v1``: releases and their files, for the bundle."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from api.auth import authenticate_runtime
from api.database import Transaction
from api.edge import RuntimeRoute
from api.releases.schemas import ReleaseManifest
from api.releases.service import ReleaseService

router = APIRouter(
    prefix="/runtime/v1", tags=["runtime"], route_class=RuntimeRoute, dependencies=[Depends(authenticate_runtime)]
)


@router.get("/release")
async def get_latest_release(session: Transaction) -> ReleaseManifest:
    """Return the newest release."""
    return await ReleaseService(session).latest()


@router.get("/releases/{number}")
async def get_release(number: str, session: Transaction) -> ReleaseManifest:
    """Return any release, also an old one that a run still names."""
    return await ReleaseService(session).get(number)


@router.get("/artifacts/{sha256}", response_class=Response)
async def get_artifact(sha256: str, session: Transaction) -> Response:
    """Return a file's bytes. They never change."""
    content = await ReleaseService(session).content(sha256)
    return Response(content, media_type="application/octet-stream")
