"""Writes every dashboard to ``dashboards/`` beside this package."""

from __future__ import annotations

from . import every_dashboard


def main() -> None:
    every_dashboard.FOLDER.mkdir(exist_ok=True)
    for name, text in every_dashboard.files().items():
        (every_dashboard.FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
