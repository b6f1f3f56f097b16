"""The form's HTML: made on the server, without scripts and without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup
from starlette.responses import HTMLResponse

STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:1.5rem;max-width:46rem}"
    "h1{font-size:1.3rem}label{display:block;font-weight:600;margin-top:1rem}.small{font-size:.85rem;opacity:.8;margin:0}"
    "textarea,select,input{font:inherit;width:100%;box-sizing:border-box;padding:.4rem}.code{font-family:monospace}"
    "button{font:inherit;margin-top:1.2rem;padding:.5rem 1.5rem}.problem{color:#c0392b}.notice{font-weight:600}"
)
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page(status: int, **values: Any) -> HTMLResponse:
    """Return a page; every value is escaped.

    :param values: ``title``, and of ``notice``, ``problem``, ``started``, ``again``, ``form``, ``fields``, ``entered``,
        ``errors``, ``messages`` and ``token`` what the page shows.
    """
    nothing = dict.fromkeys(("notice", "problem", "started", "again", "form", "fields", "token"))
    # Ours, and the one text that the policy knows by its digest.
    style = Markup(STYLE)  # noqa: S704
    text = _template().render({**nothing, "entered": {}, "errors": {}, "messages": [], "style": style, **values})
    return HTMLResponse(text, status, HEADERS)


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string((Path(__file__).parent / "templates" / "form.html.jinja").read_text("utf-8"))
