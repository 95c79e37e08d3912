"""Renders the service's pages from ``share/``, in the look of the Hub. Called by the handlers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from .. import _data
from ..model import isoformat
from .access import Viewer
from .drawings import marks_of
from .figures import amount_in_words
from .wording import hours_in_words


class Pages:
    """The templates, which know where the Hub and the service are."""

    def __init__(self, *, hub_url: str, prefix: str) -> None:
        """``hub_url`` and ``prefix`` end with a slash."""
        self._templates = Environment(
            loader=FileSystemLoader(
                _data.path("share", "jupyter", "jupyterhub-metrics", "service-templates")
            ),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(hub_url=hub_url, prefix=prefix)
        self._templates.filters["moment"] = moment
        self._templates.filters["hours"] = hours_in_words
        self._templates.filters["amount"] = amount_in_words
        self._templates.filters["marks"] = marks_of
        self._templates.filters["code"] = with_code
        self._templates.filters["path"] = path_segment

    def render(
        self,
        template: str,
        *,
        user: Mapping[str, Any] | None,
        viewer: Viewer | None,
        asset_url: Callable[[str], str],
        **values: Any,
    ) -> str:
        """The page as text; ``user`` is the Hub's model of the visitor, ``viewer`` what they may
        see, ``asset_url`` gives the address of one of our own files."""
        return self._templates.get_template(template).render(
            user=user, viewer=viewer, asset_url=asset_url, **values
        )


def path_segment(name: str) -> str:
    """A name as one segment of an address; ``urlencode`` of Jinja would keep slashes."""
    return quote(name, safe="")


def with_code(text: str) -> Markup:
    """Text with what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


def moment(at: datetime) -> Markup:
    """A ``<time>`` element in UTC to the second, which a script turns into the browser's zone."""
    utc = at.astimezone(timezone.utc)
    shown = utc.isoformat(" ", "seconds")[:19]
    return Markup(  # noqa: S704 - digits of ours
        f'<time datetime="{isoformat(utc)}" title="{shown} UTC">{shown}</time>'
    )
