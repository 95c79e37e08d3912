"""What happens in one schedule of lives and deaths, drawn from a seed. Pure.

Times are seconds after the schedule's beginning.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tcp_proxy import CUTS

VICTIMS = ("hub", "service", "postgres", "proxy", "network")
LINKS = ("recorder", "hub_api", "database")
"""Recorder to service, service to the Hub's REST API, service to a database of its own."""

FAULTS_FROM_SECONDS, FAULTS_UNTIL_SECONDS = 0.3, 4.0
OUTAGE_SECONDS = (0.2, 2.0)


@dataclass(frozen=True)
class Life:
    """One run that a user asks for: ``pause`` after the one before, ``fate`` after ``length``."""

    pause: float
    length: float
    mode: str
    fate: str
    by_service: bool


@dataclass(frozen=True)
class Lane:
    """One server of one user, and what is done with it, one life after another."""

    username: str
    server_name: str
    lives: tuple[Life, ...]


@dataclass(frozen=True)
class Fault:
    """``links`` and ``manner`` count for the network, ``seconds`` where a test ends the outage."""

    at: float
    victim: str
    seconds: float
    links: tuple[str, ...]
    manner: str


@dataclass(frozen=True)
class Schedule:
    seed: int
    number: int
    lanes: tuple[Lane, ...]
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        struck = ", ".join(
            f"{fault.victim} at {fault.at:.1f} s for {fault.seconds:.1f} s"
            + (f" ({'+'.join(fault.links)} {fault.manner})" if fault.victim == "network" else "")
            for fault in self.faults
        )
        return f"schedule {self.number} of seed {self.seed}: {struck}"


def schedule_of(seed: int, number: int) -> Schedule:
    """The same schedule for the same seed and number; of five in a row, each victim is twice in."""
    # a text, because a seed of numbers is the same for sums of them
    dice = random.Random(f"{seed}/{number}")
    round_, first = divmod(number, len(VICTIMS))
    second = (first + 1 + round_ % (len(VICTIMS) - 1)) % len(VICTIMS)
    victims = [VICTIMS[first], VICTIMS[second]]
    dice.shuffle(victims)
    faults = sorted((_fault(dice, victim) for victim in victims), key=lambda fault: fault.at)
    lanes = [
        Lane(f"s{number:03}-u{user}", name, _lives(dice))
        for user in range(4)
        for name in (("", "work") if user == 0 else ("",))
    ]
    return Schedule(seed, number, tuple(lanes), tuple(faults))


def _fault(dice: random.Random, victim: str) -> Fault:
    links = dice.choice([*((link,) for link in LINKS), LINKS])
    return Fault(
        at=dice.uniform(FAULTS_FROM_SECONDS, FAULTS_UNTIL_SECONDS),
        victim=victim,
        seconds=dice.uniform(*OUTAGE_SECONDS),
        links=links,
        manner=dice.choice(CUTS),
    )


def _lives(dice: random.Random) -> tuple[Life, ...]:
    lives = [
        Life(
            pause=dice.uniform(0, 1.5),
            length=dice.uniform(0.1, 2.5),
            mode=dice.choices(("normal", "slow", "linger", "exit7", "raise"), (12, 2, 2, 1, 1))[0],
            fate=dice.choice(("stop", "stop", "kill")),
            by_service=dice.random() < 0.3,
        )
        for _ in range(dice.choice((1, 2, 2)))
    ]
    if dice.random() < 0.3:
        stays = Life(dice.uniform(0, 1), 0, "normal", "stay", by_service=False)
        lives.append(stays)
    return tuple(lives)
