"""Takes known secrets out of what containers print, before it is shown or told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

MASK = "***"
SHORTEST = 6
"""Signs of the shortest text that is masked: what is shorter stands in many words."""


class Masker:
    """Masks some values in texts.

    A value is found as it is, as JSON writes it, and each line of it by itself, for texts come in lines. Of one that is
    cut off where a text begins or ends the rest is found too. What a program made of it (base64, say) is not.

    :param values: The secrets.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values for form in _forms(value) if len(form) >= SHORTEST}
        # The longest first: another one may be a part of it.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))

    def __call__(self, text: str) -> str:
        """Return a text with a mask in the place of each secret."""
        for form in self._forms:
            text = text.replace(form, MASK)
        for form in self._forms:
            text = _without_cut_end(_without_cut_beginning(text, form), form)
        return text


def _forms(value: str) -> Iterator[str]:
    for text in (value, *value.splitlines()):
        yield text.strip()
        for ascii_only in (True, False):
            yield json.dumps(text.strip(), ensure_ascii=ascii_only)[1:-1]


def _without_cut_beginning(text: str, form: str) -> str:
    """Mask the end of a secret with which a text begins."""
    window = text[: len(form) - 1]
    found = window.rfind(form[-SHORTEST:])
    while found >= 0:
        size = found + SHORTEST
        if form.endswith(window[:size]):
            return MASK + text[size:]
        found = window.rfind(form[-SHORTEST:], 0, size - 1)
    return text


def _without_cut_end(text: str, form: str) -> str:
    """Mask the beginning of a secret with which a text ends."""
    window = text[-(len(form) - 1) :]
    found = window.find(form[:SHORTEST])
    while found >= 0:
        rest = window[found:]
        if form.startswith(rest):
            return text[: -len(rest)] + MASK
        found = window.find(form[:SHORTEST], found + 1)
    return text
