"""What every test may use."""

from __future__ import annotations

pytest_plugins = ["needs", "engines", "databases", "pod_cluster", "pod_followed", "pytester"]
