"""``python -m jupyterhub_metrics.service``."""

from __future__ import annotations

import os

# taken before the slow imports: a parent that dies meanwhile is noticed
PARENT_PID = os.getppid()


def main() -> None:
    from jupyterhub_metrics.service.app import MetricsService

    MetricsService.launch(parent_pid=PARENT_PID)


if __name__ == "__main__":
    main()
