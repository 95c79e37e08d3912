"""The REST API: what can be asked, declared once for the answers and for the OpenAPI document."""
