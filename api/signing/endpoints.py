"""``/.well-known/jwks.json``: the public keys of our access tokens."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.signing.keys import ANNOUNCE_SECONDS, KeyRing

router = APIRouter(tags=["identity"])


async def get_keys(request: Request) -> KeyRing:
    """Return the application's signing keys."""
    keys = request.app.state.keys
    assert isinstance(keys, KeyRing)
    return keys


KeysDep = Annotated[KeyRing, Depends(get_keys)]


@router.get("/.well-known/jwks.json")
async def get_jwks(keys: KeysDep, response: Response) -> dict[str, list[dict[str, Any]]]:
    """Return the keys, as a JSON Web Key Set; empty where nobody can log in."""
    response.headers["cache-control"] = f"public, max-age={ANNOUNCE_SECONDS / 2:.0f}"
    return {"keys": await keys.public_jwks()}
