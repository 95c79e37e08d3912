"""What the recorder can be told in ``jupyterhub_config.py``, as ``c.MetricsRecorder``."""

from __future__ import annotations

from traitlets import Dict, List, Unicode
from traitlets.config import LoggingConfigurable

DEFAULT_HUB_NAME = "jupyterhub"
DEFAULT_DATA_DIR = "jupyterhub-metrics"


class RecorderSettings(LoggingConfigurable):
    """The settings alone; the recorder inherits them."""

    hub_name = Unicode(
        DEFAULT_HUB_NAME,
        help="""The name of this Hub in every row. Part of each session's identity: choose it
        once and keep it. Hubs that share a database need different names. At most 255
        characters.""",
    ).tag(config=True)

    data_dir = Unicode(
        DEFAULT_DATA_DIR,
        help="""Folder of the outbox and the secrets, absolute or relative to the Hub's working
        directory. On a disk that outlives the Hub's process, not on a network file system.""",
    ).tag(config=True)

    service_url = Unicode(
        help="""Where the service answers, for example ``http://127.0.0.1:10180``. Set by
        ``setup(c)``. Without a path, the Hub's ``base_url`` and the service's prefix are added.
        """,
    ).tag(config=True)

    samples_url = Unicode(
        help="""Where users' servers post samples of what they use, as they reach it: the address
        of the Hub's proxy, for example ``http://proxy-public``, or ``service`` for the service's
        own, which servers on the Hub's machine reach. Every server is given it in the variable
        ``JUPYTERHUB_METRICS_SAMPLES_URL``, unless its environment has one. Without a path, the
        Hub's ``base_url`` and the service's prefix are added. Empty: servers are given none.""",
    ).tag(config=True)

    allowed_user_options = List(
        Unicode(),
        default_value=["profile", "profile-option-*", "image"],
        help="""Names of user options that are recorded; ``*`` stands for any text. Others never
        leave the Hub. An empty list records none.""",
    ).tag(config=True)

    gpu_resources = List(
        Unicode(),
        default_value=["*/gpu", "nvidia.com/mig-*", "gpu.intel.com/*"],
        help="""Names of Kubernetes extended resources that count as GPUs; ``*`` stands for any
        text. An empty list counts none.""",
    ).tag(config=True)

    extra_facts = Dict(
        key_trait=Unicode(),
        help="""Facts to add to every request, or to correct the ones that are read: name to a
        callable that takes the spawner and returns text, a number or None. Empty: none.""",
    ).tag(config=True)

    auth_state_facts = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""Fields of auth state that tell who a user is: ``email``, ``full_name``,
        ``department`` or ``job_title``, each to the dotted path of the field, for example
        ``{"email": "user.mail"}``. Nothing else is copied, and no value that may be a token.
        Empty: nothing is.""",
    ).tag(config=True)
