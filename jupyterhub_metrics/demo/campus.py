"""The fictional campus whose past the demo simulates: people, profiles and their habits.

Called by :mod:`.history`. Pure; standard library only. Nobody here exists.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

LOGIN_NAMES = ("admin", "mira", "tomas")
"""Who can log in to the demo; they come first among the people and so have a past too."""

MAX_PEOPLE = 1000

_GIVEN_NAMES = (
    "alma bela cleo dario edda finn gustav hana ivo jonna kaspar leni malik nadja oskar petra "
    "quentin rosa samir tilda ugo vera wanda xaver yara zeno anouk bruno carla dmitri elif farid"
)
_FAMILY_NAMES = (
    "abel birke castell dorn eklund falk greve holm irving jansen keller lind moreau nygaard "
    "okafor pires quist rossi sato thorne ueda valdez winter xu ytterberg zeman adeyemi brandt "
    "cisse dumont engel farkas"
)
_GIBIBYTE = 1024**3


@dataclass(frozen=True)
class Profile:
    """A choice on the spawn page, and where it lands."""

    name: str
    image: str
    pool: str
    nodes: int
    cpu_guarantee_cores: float
    cpu_limit_cores: float
    memory_guarantee_gib: int
    memory_limit_gib: int
    gpus: int = 0

    def facts(self, node: int) -> dict[str, object]:
        """The facts of a session with this profile on the pool's node of that number."""
        facts: dict[str, object] = {
            "profile": self.name,
            "user_options": {"profile": self.name},
            "image": self.image,
            "node": f"{self.pool}-{node % self.nodes + 1}",
            "namespace": "jupyter",
            "spawner_class": "kubespawner.spawner.KubeSpawner",
            "cpu_guarantee_cores": self.cpu_guarantee_cores,
            "cpu_limit_cores": self.cpu_limit_cores,
            "memory_guarantee_bytes": self.memory_guarantee_gib * _GIBIBYTE,
            "memory_limit_bytes": self.memory_limit_gib * _GIBIBYTE,
        }
        if self.gpus:
            facts["gpus"] = self.gpus
        return facts


_IMAGES = "registry.example.org/notebooks"
SMALL = Profile("small", f"{_IMAGES}/scipy:2026.1", "general", 6, 0.5, 2, 1, 4)
LARGE = Profile("large", f"{_IMAGES}/datascience:2026.1", "general", 6, 4, 8, 16, 32)
STATISTICS = Profile("statistics", f"{_IMAGES}/r:4.5", "general", 6, 0.5, 2, 2, 4)
GPU = Profile("gpu", f"{_IMAGES}/pytorch:2.9-cuda", "gpu", 3, 4, 8, 16, 64, gpus=1)


@dataclass(frozen=True)
class Department:
    """``labs`` are the weekday and hour (UTC) of taught hours, when many start at once."""

    name: str
    profiles: tuple[Profile, ...]
    weights: tuple[int, ...]
    labs: tuple[tuple[int, int], ...] = ()


DEPARTMENTS = (
    Department("physics", (SMALL, LARGE, GPU), (5, 4, 1)),
    Department("statistics-101", (STATISTICS, SMALL), (8, 2), labs=((1, 8), (3, 13))),
    Department("biology", (SMALL, LARGE), (6, 4), labs=((2, 9),)),
    Department("machine-learning", (GPU, SMALL), (7, 3), labs=((4, 12),)),
)


@dataclass(frozen=True)
class Person:
    """``diligence`` is the probability of working on a weekday; ``servers`` are the names of
    the servers that the person uses, the default one (empty) first."""

    name: str
    department: Department
    diligence: float
    servers: tuple[str, ...] = field(default=("",))


def people(count: int, seed: int) -> list[Person]:
    """``count`` people; a larger count adds people and changes none."""
    given_and_family = [
        f"{given}.{family}" for family in _FAMILY_NAMES.split() for given in _GIVEN_NAMES.split()
    ]
    # a simulation wants a repeatable generator, not a secret one
    random.Random(f"{seed}/names").shuffle(given_and_family)  # noqa: S311
    names = [*LOGIN_NAMES, *given_and_family][:count]
    return [_person(name, seed) for name in names]


def _person(name: str, seed: int) -> Person:
    dice = random.Random(f"{seed}/person/{name}")  # noqa: S311
    return Person(
        name=name,
        department=dice.choices(DEPARTMENTS, (3, 5, 3, 2))[0],
        diligence=0.35 + 0.6 * dice.random(),
        servers=("", "paper") if dice.random() < 0.2 else ("",),
    )
