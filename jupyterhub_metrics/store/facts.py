"""Facts as the store keeps them: without what is unknown, with the image taken apart, in parts.

Pure, and applied twice it changes nothing more. Called by :mod:`.store`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..image import parse_image

_OF_THE_REQUEST: Final = frozenset(
    {"display_name", "groups", "user_options", "started_by", "pod_name"}
)
_OF_THE_SERVER: Final = frozenset(
    {
        "spawner_class",
        "profile",
        "image",
        "image_name",
        "image_tag",
        "image_digest",
        "namespace",
        "cpu_guarantee_cores",
        "cpu_limit_cores",
        "memory_guarantee_bytes",
        "memory_limit_bytes",
        "gpus",
    }
)


@dataclass(frozen=True)
class FactParts:
    """Facts by what they repeat with: of one user, of one profile, the node, and all others."""

    request: dict[str, Any]
    server: dict[str, Any]
    other: dict[str, Any]
    node: str | None


def stored_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts without those that are null, so that not knowing never overrides knowing.

    With ``image`` come ``image_name``, ``image_tag`` and ``image_digest``. A tag or digest that
    the reference does not have is null here: it must override the one of another image.
    """
    kept = {name: value for name, value in facts.items() if value is not None}
    image = kept.get("image")
    if isinstance(image, str):
        reference = parse_image(image)
        kept["image_name"] = reference.name
        kept["image_tag"] = reference.tag
        kept["image_digest"] = reference.digest
    return kept


def parts_of(facts: Mapping[str, Any]) -> FactParts:
    """The facts, each in exactly one part."""
    parts = FactParts({}, {}, {}, node if isinstance(node := facts.get("node"), str) else None)
    for name, value in facts.items():
        if name in _OF_THE_REQUEST:
            parts.request[name] = value
        elif name in _OF_THE_SERVER:
            parts.server[name] = value
        elif name != "node" or parts.node is None:
            parts.other[name] = value
    return parts
