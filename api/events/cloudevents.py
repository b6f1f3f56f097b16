"""Reads CloudEvents 1.0 from HTTP: structured, batched, and with their attributes in ``ce-`` headers (binary)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from api.edge import parse_json
from api.problems import Problem

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
MAX_BATCH = 100
MAX_BYTES = {"id": 500, "source": 1000, "type": 500, "subject": 1000}
"""Longest attributes, in bytes of UTF-8: PostgreSQL indexes no longer texts."""

_NAME = re.compile(r"[a-z0-9]+")
_JSON = re.compile(r"application/([a-z0-9.!#$&^_-]+\+)?json")


@dataclass(frozen=True)
class CloudEvent:
    """An event. ``data`` is JSON, ``{}`` where there is none. Extension attributes are not kept."""

    id: str
    source: str
    type: str
    subject: str | None
    time: str | None
    data: Any


def read_events(headers: Mapping[str, str], body: bytes) -> list[CloudEvent]:
    """Return the events of a request; several in a batch only.

    :raises Problem: 400 for broken JSON, 415 for another media type, 422 for what is no event; then none is taken.
    """
    media_type = _media_type(headers.get("content-type", ""))
    if media_type == STRUCTURED:
        return [_read_structured(parse_json(body), "")]
    if media_type == BATCH:
        return _read_batch(parse_json(body))
    if "ce-specversion" in headers or "ce-id" in headers:
        return [_read_binary(headers, media_type, body)]
    detail = (
        f"The body must be a CloudEvent: send it as {STRUCTURED} or {BATCH}, or give its attributes in ce- headers; "
        f"got media type {media_type[:100] or 'none'!r}."
    )
    raise Problem(415, "unsupported_media_type", detail, headers={"accept": f"{STRUCTURED}, {BATCH}"})


def _media_type(text: str) -> str:
    return text.partition(";")[0].strip().lower()


def _read_batch(value: Any) -> list[CloudEvent]:
    if not isinstance(value, list):
        raise _refusal("", f"a batch must be a list of events; got {_kind(value)}. Put the event into a list")
    if len(value) > MAX_BATCH:
        raise _refusal("", f"a batch must have at most {MAX_BATCH} events; got {len(value)}. Send several batches")
    return [_read_structured(item, f"/{index}") for index, item in enumerate(value)]


def _read_structured(value: Any, place: str) -> CloudEvent:
    if not isinstance(value, dict):
        raise _refusal(place, f"an event must be an object; got {_kind(value)}. Send its attributes and `data`")
    return _event(value, _structured_data(value, place), place)


def _structured_data(value: dict[str, Any], place: str) -> Any:
    if "data_base64" not in value:
        return value.get("data", {})
    if "data" in value:
        raise _refusal(place, "an event must have either `data` or `data_base64`; got both. Leave one out")
    _check_json(_media_type(str(value.get("datacontenttype", "application/json"))), f"{place}/datacontenttype")
    try:
        data = base64.b64decode(value["data_base64"], validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise _refusal(f"{place}/data_base64", "`data_base64` must be base64. Encode the bytes anew") from None
    return parse_json(data)


def _read_binary(headers: Mapping[str, str], media_type: str, body: bytes) -> CloudEvent:
    attributes = {
        name[3:]: unquote(value, errors="replace")
        for name, value in headers.items()
        if name.startswith("ce-") and _NAME.fullmatch(name[3:])
    }
    if body:
        _check_json(media_type, "")
    return _event(attributes, parse_json(body) if body else {}, "")


def _check_json(media_type: str, place: str) -> None:
    if _JSON.fullmatch(media_type) is None:
        detail = f"the data of an event must be JSON; got media type {media_type[:100] or 'none'!r}. Send JSON"
        raise _refusal(place, detail, status=415)


def _event(attributes: Mapping[str, Any], data: Any, place: str) -> CloudEvent:
    errors = [error for name in ("specversion", "id", "source", "type") if (error := _lack(attributes, name, place))]
    errors += [error for name in ("subject", "time") if (error := _slip(attributes, name, place))]
    if errors:
        raise _refusal(errors[0][0], errors[0][1], errors=errors)
    return CloudEvent(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=attributes.get("subject"),
        time=attributes.get("time"),
        data=data,
    )


def _lack(attributes: Mapping[str, Any], name: str, place: str) -> tuple[str, str] | None:
    """Return what is wrong with an attribute that every event has."""
    if name not in attributes:
        return place, f"`{name}` is required: give the event its `{name}`"
    if name == "specversion":
        if attributes[name] == "1.0":
            return None
        return f"{place}/{name}", f"`specversion` must be '1.0'; got {_shown(attributes[name])}. Send CloudEvents 1.0"
    return _slip(attributes, name, place)


def _slip(attributes: Mapping[str, Any], name: str, place: str) -> tuple[str, str] | None:
    """Return what is wrong with an attribute that may be missing."""
    value = attributes.get(name)
    if value is None and name in ("subject", "time"):
        return None
    if name == "time":
        if isinstance(value, str) and _is_time(value):
            return None
        return f"{place}/time", f"`time` must be RFC 3339 with a zone, like '2026-01-02T03:04:05Z'; got {_shown(value)}"
    if isinstance(value, str) and value and len(value.encode("utf-8", "replace")) <= MAX_BYTES[name] and _plain(value):
        return None
    rule = f"`{name}` must be a text of 1 to {MAX_BYTES[name]} bytes without control characters"
    return f"{place}/{name}", f"{rule}; got {_shown(value)}"


def _plain(text: str) -> bool:
    return all(ord(character) >= 32 and character != "\x7f" for character in text)


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", bool: "a truth value", type(None): "null"}.get(type(value), "a number")


def _shown(value: Any) -> str:
    return repr(value if not isinstance(value, str) else value[:60])[:80]


def _refusal(place: str, message: str, *, status: int = 422, errors: list[tuple[str, str]] | None = None) -> Problem:
    listed = [{"pointer": pointer, "message": text} for pointer, text in errors or [(place, message)]]
    code = "invalid_event" if status == 422 else "unsupported_media_type"
    return Problem(status, code, message[:1].upper() + message[1:] + ".", errors=listed)
