"""``/runtime/v1``: releases and their files, for the bundle."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from api.auth import authenticate_runtime
from api.edge import RuntimeRoute
from api.releases.schemas import ArtifactRequest, ReleaseManifest
from api.releases.service import ReleaseService
from api.tenancy import SystemTransaction

LOST = b"\xff\xff\xff\xff"

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
    """Return the bytes of files in the order asked for, each after its length as 4 bytes, the highest first. A length
    of ``ffffffff``, and no bytes, stands for a file that the object store has lost."""
    frames = [_frame(content) for content in await ReleaseService(session).contents(body.sha256)]
    return Response(b"".join(frames), media_type="application/octet-stream")


def _frame(content: bytes | None) -> bytes:
    return LOST if content is None else len(content).to_bytes(4, "big") + content
