"""``/runtime/v1``: releases and their files, for the bundle."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from api.auth import authenticate_runtime
from api.edge import RuntimeRoute
from api.releases.schemas import ArtifactRequest, ReleaseManifest
from api.releases.service import ReleaseService
from api.tenancy import SystemTransaction

router = APIRouter(
    prefix="/runtime/v1", tags=["runtime"], route_class=RuntimeRoute, dependencies=[Depends(authenticate_runtime)]
)


@router.get("/release")
async def get_latest_release(session: SystemTransaction, since: str | None = None) -> ReleaseManifest:
    """Return the newest release, where that can be told as its difference from ``since``."""
    return await ReleaseService(session).latest(since)


@router.get("/releases/{number}")
async def get_release(number: str, session: SystemTransaction, since: str | None = None) -> ReleaseManifest:
    """Return any release, also an old one that a run still names."""
    return await ReleaseService(session).get(number, since)


@router.post("/artifacts", response_class=Response)
async def get_artifacts(body: ArtifactRequest, session: SystemTransaction) -> Response:
    """Return the bytes of files in the order asked for, each after its length as 4 bytes, the highest first."""
    contents = await ReleaseService(session).contents(body.sha256)
    frames = b"".join(len(content).to_bytes(4, "big") + content for content in contents)
    return Response(frames, media_type="application/octet-stream")
