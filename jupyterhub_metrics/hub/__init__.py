"""What runs inside the Hub: the recorder, its outbox, and ``setup(c)`` that puts them there."""

from .setup import config_file, setup

__all__ = ["config_file", "setup"]
