"""Kubernetes quantities, such as ``500m`` or ``1.5Gi``, as whole numbers of a small unit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from compiler.fields import problem

_QUANTITY = re.compile(r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,2}))?", re.ASCII)
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def parse_quantity(text: str) -> Decimal | None:
    """Return the number a quantity stands for, or None where it is none. Signs are refused: no limit is negative."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, suffix, exponent = Decimal(match[1]), match[2], match[3]
    if suffix in _BINARY:
        return number * (1 << _BINARY[suffix])
    return number.scaleb(_DECIMAL[suffix] if suffix else int(exponent or 0))


@dataclass(frozen=True, slots=True)
class Quantity:
    """Annotates a field that is a Kubernetes quantity within limits; as a validator it leaves the text as it is.

    :param unit: How many of the counted unit make one: 1,000 millicores a core, 1 byte a byte.
    :param smallest: As a quantity.
    :param largest: As a quantity.
    """

    unit: int
    smallest: str
    largest: str

    def __call__(self, text: Any) -> Any:
        """Check a field.

        :raises PydanticCustomError: It is no quantity, or too small or too large.
        """
        self.count(text)
        return text

    def count(self, text: str) -> int:
        """Return a quantity as a number of units, rounded up as Kubernetes does.

        :raises PydanticCustomError: It is no quantity, or too small or too large.
        """
        value, smallest, largest = parse_quantity(text), parse_quantity(self.smallest), parse_quantity(self.largest)
        assert smallest is not None
        assert largest is not None
        if value is None or not smallest <= value <= largest:
            rule = f"must be a Kubernetes quantity from {self.smallest} to {self.largest}, like '{self.smallest}'"
            raise problem("invalid_config", rule)
        return int((value * self.unit).to_integral_value(ROUND_CEILING))


CPU = Quantity(unit=1_000, smallest="10m", largest="64")
"""Counted in millicores."""
MEMORY = Quantity(unit=1, smallest="32Mi", largest="256Gi")
"""Counted in bytes."""
STORAGE = Quantity(unit=1, smallest="1Mi", largest="256Gi")
"""Counted in bytes."""
