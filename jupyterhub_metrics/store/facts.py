"""Facts as the store keeps them: without what is unknown, with the image taken apart.

Pure, and applied twice it changes nothing more. Called by :mod:`.store`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..image import parse_image


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
