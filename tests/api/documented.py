"""What the OpenAPI document says of answers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import httpx
import schemathesis
from fastapi import FastAPI


@lru_cache(maxsize=1)
def _schema(app: FastAPI) -> Any:
    return schemathesis.openapi.from_dict(app.openapi())


def check_documented(app: FastAPI, method: str, path: str, answer: httpx.Response) -> None:
    """Check an answer's status, media type and body by the document.

    :param path: The route's, with the names of its parameters.
    :raises Exception: It is not documented.
    """
    declared = app.openapi()["paths"][path][method.lower()]["responses"]
    assert str(answer.status_code) in declared, f"{method} {path}: {answer.status_code}"
    assert bool(answer.content) == bool(declared[str(answer.status_code)].get("content")), f"{method} {path}"
    _schema(app)[path][method].validate_response(answer)
