"""The OpenAPI 3.1 document, made from the same declarations as the answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ... import __version__
from .parameters import Parameter
from .rendering import CSV_TYPE, JSON_TYPE
from .resources import RESOURCES, Resource

_ERRORS: Final = {
    "400": "A parameter is unknown or wrong; `field` names it.",
    "401": "No login and no token, or one that has expired.",
    "403": "You may not see that; `field` names what asks for it.",
    "406": "Neither JSON nor CSV would be taken.",
    "503": "The database is away; `Retry-After` says when to try again.",
}


def document(prefix: str) -> dict[str, Any]:
    """The document for a service under ``prefix``, which ends with a slash."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "jupyterhub-metrics",
            "version": __version__,
            "description": (
                "Usage of a JupyterHub, by session, user, group and anything else. Everyone reads "
                "their own; holders of `custom:jupyterhub-metrics:read!group=NAME` that group's; "
                "admins of the Hub and holders of `custom:jupyterhub-metrics:read` everyone's."
            ),
        },
        "servers": [{"url": f"{prefix}api/v1"}],
        "security": [{"token": []}, {"cookie": []}],
        "paths": {f"/{resource.name}": {"get": _operation(resource)} for resource in RESOURCES},
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token of the Hub (page Token) with the scope "
                    "`access:services!service=jupyterhub-metrics`.",
                },
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "service-jupyterhub-metrics",
                    "description": "A browser's login.",
                },
            },
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error", "field"],
                    "properties": {
                        "error": {"type": "string", "description": "One line"},
                        "field": {"type": "string", "description": "What it is about"},
                    },
                },
                **{f"{resource.name}_row": _row(resource) for resource in RESOURCES},
            },
        },
    }


def _operation(resource: Resource) -> dict[str, Any]:
    row = {"$ref": f"#/components/schemas/{resource.name}_row"}
    body: Mapping[str, Any] = row if resource.single else _list_of(row)
    return {
        "operationId": resource.name,
        "summary": resource.summary,
        "description": resource.description,
        "parameters": [_parameter(parameter) for parameter in resource.parameters],
        "responses": {
            "200": {
                "description": resource.summary,
                "headers": {
                    "ETag": {"schema": {"type": "string"}, "description": "For If-None-Match"},
                    "Link": {
                        "schema": {"type": "string"},
                        "description": 'The next page, `<...>; rel="next"`, if there is one',
                    },
                },
                "content": {
                    JSON_TYPE.partition(";")[0]: {"schema": body},
                    CSV_TYPE.partition(";")[0]: {"schema": {"type": "string"}},
                },
            },
            "304": {"description": "What you have is still right."},
            **{
                status: {
                    "description": text,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Error"}}
                    },
                }
                for status, text in _ERRORS.items()
            },
        },
    }


def _list_of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["items", "next", "total"],
        "properties": {
            "items": {"type": "array", "items": row},
            "next": {"type": ["string", "null"], "description": "The cursor of the next page"},
            "total": {"type": ["integer", "null"], "description": "Rows in all, where counted"},
        },
    }


def _row(resource: Resource) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [column.name for column in resource.columns],
        "additionalProperties": False,
        "properties": {column.name: column.schema() for column in resource.columns},
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "required": False,
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }
