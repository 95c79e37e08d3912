"""Kubernetes quantities (``4Gi``, ``1500m``, ``1.5e9``) as whole bytes.

Called by ``sources.pod_json``. Pure; standard library only.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

_QUANTITY = re.compile(
    r"\+?(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,3}))?"
)
_FACTORS: Final = {
    **{f"{prefix}i": Decimal(2 ** (10 * power)) for power, prefix in enumerate("KMGTPE", 1)},
    **{prefix: Decimal(1000) ** power for power, prefix in enumerate("kMGTPE", 1)},
    **{prefix: Decimal(1000) ** -power for power, prefix in enumerate("mun", 1)},
}
_MAX_CHARACTERS: Final = 64
_LARGEST: Final = 2**63 - 1


def parse_bytes(text: str) -> int | None:
    """The whole bytes of a quantity, fractions rounded up as Kubernetes does; None if it is none.

    Also None for a negative amount and for one beyond 2**63 - 1, the largest that Kubernetes
    holds. Grammar: https://pkg.go.dev/k8s.io/apimachinery/pkg/api/resource#Quantity.
    """
    match = _QUANTITY.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
    if match is None:
        return None
    amount = Decimal(match["number"])
    if match["suffix"]:
        amount *= _FACTORS[match["suffix"]]
    elif match["exponent"]:
        amount = amount.scaleb(int(match["exponent"]))
    if amount > _LARGEST:
        return None
    return int(amount.to_integral_value(rounding=ROUND_CEILING))
