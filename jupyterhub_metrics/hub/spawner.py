"""The recording subclass of whatever spawner class a deployment configures.

Made by ``hub.hooks`` when JupyterHub resolves its spawner class. It overrides the methods where
the moments are sure and calls the original ones, so that the deployment's own hooks keep firing
by themselves, wherever and whenever they were set.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from jupyterhub.utils import maybe_future

from .._names import SAMPLES_URL_VARIABLE
from .actor import HUB_POLL, acting

if TYPE_CHECKING:
    from .recorder import MetricsRecorder

RECORDER_SETTING = "jupyterhub_metrics_recorder"
"""The key of the recorder in the Hub's tornado settings, which every user object shares."""


def recorder_of(spawner: Any) -> MetricsRecorder | None:
    """The recorder of the Hub that owns the spawner; None where no recorder was started."""
    settings = getattr(spawner.user, "settings", None) or {}
    recorder: MetricsRecorder | None = settings.get(RECORDER_SETTING)
    return recorder


class RecordingSpawner:
    """Mixed in before the deployment's class by :func:`recording`."""

    recorded_class: type
    notifying: int = 0
    """How many polls wait for what the Hub does about the end that they found."""

    def get_env(self) -> Any:
        environment = super().get_env()  # type: ignore[misc]
        recorder = recorder_of(self)
        if recorder and recorder.samples_address and isinstance(environment, dict):
            environment.setdefault(SAMPLES_URL_VARIABLE, recorder.samples_address)
        return environment

    async def run_auth_state_hook(self, auth_state: Any) -> None:
        if recorder := recorder_of(self):
            recorder.authenticated(self, auth_state)
        await super().run_auth_state_hook(auth_state)  # type: ignore[misc]

    def run_pre_spawn_hook(self) -> Any:
        if recorder := recorder_of(self):
            recorder.requested(self)
        return super().run_pre_spawn_hook()  # type: ignore[misc]

    def add_poll_callback(self, callback: Any, *args: Any, **kwargs: Any) -> None:
        async def found_dead() -> None:
            # The periodic callback keeps the context in which polling began, which says
            # nothing about why the server is gone now: nobody asked, the poll found it.
            with acting(HUB_POLL):
                await maybe_future(callback(*args, **kwargs))

        super().add_poll_callback(found_dead)  # type: ignore[misc]
        if recorder := recorder_of(self):
            recorder.ready(self)
            recorder.ask_when_ready(self)
            if recorder.found_gone_in_start(self):
                # The Hub polls no more once a poll has found a server gone, and when that was
                # before anybody waited for it, calls the dead server ready for ever.
                self.start_polling()

    def stop_polling(self) -> None:
        if recorder := recorder_of(self):
            recorder.stopping(self)
        super().stop_polling()  # type: ignore[misc]

    def start_polling(self) -> None:
        super().start_polling()  # type: ignore[misc]
        if recorder := recorder_of(self):
            recorder.polling(self)

    async def poll(self) -> Any:
        recorder = recorder_of(self)
        if recorder is None:
            return await super().poll()  # type: ignore[misc]
        began = recorder.moment_of(self)
        try:
            status = await super().poll()  # type: ignore[misc]
        except Exception as error:
            recorder.poll_raised(self, error)
            raise
        recorder.polled(self, status, began)
        return status

    async def poll_and_notify(self) -> Any:
        self.notifying += 1
        try:
            status = await super().poll_and_notify()  # type: ignore[misc]
        finally:
            self.notifying -= 1
        recorder = recorder_of(self)
        if recorder is not None and not self.notifying:
            recorder.notified(self, status)
        return status

    async def poll_unrecorded(self) -> Any:
        """What the deployment's own poll says, of a server that is no longer the present one."""
        return await maybe_future(super().poll())  # type: ignore[misc]

    async def stop(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await maybe_future(super().stop(*args, **kwargs))  # type: ignore[misc]
        except Exception as error:
            if recorder := recorder_of(self):
                recorder.stop_raised(self, error)
            raise

    def run_post_stop_hook(self) -> Any:
        if recorder := recorder_of(self):
            recorder.ended(self, sys.exc_info()[1])
        return super().run_post_stop_hook()  # type: ignore[misc]


@cache
def recording(spawner_class: type) -> type:
    """The recording subclass of a spawner class; the class itself if it already records.

    It keeps the module of the class it records, so that JupyterHub's log still tells which
    spawner and which version runs, and its configuration sections, which follow the bases.
    """
    if issubclass(spawner_class, RecordingSpawner):
        return spawner_class
    return type(
        f"Recording{spawner_class.__name__}",
        (RecordingSpawner, spawner_class),
        {
            "__module__": spawner_class.__module__,
            "__doc__": spawner_class.__doc__,
            "recorded_class": spawner_class,
        },
    )
