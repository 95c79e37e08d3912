"""The unit of systemd as it is: its very command, account, rights and limits, over a real database.

What systemd makes of the file is made here by hand (systemd.exec(5)), for no test may start it; and
its own parser reads the file, which starts nothing.
"""

from __future__ import annotations

import asyncio
import grp
import re
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from mounted_root import MountedRoot, ambient, at_most, this_package
from real_cgroups import RealGroup
from sampler_database import SamplerDatabase, sampler_database, until

from jupyterhub_metrics import _data

FOLDER = _data.path("share", "jupyter", "jupyterhub-metrics", "sampler")
UNIT = FOLDER / "jupyterhub-metrics-sampler.service"
PLACE = f"/etc/systemd/system/{UNIT.name}"

DYNAMIC_USER = 61184
"""The first of those that DynamicUser= takes."""

APPLIED = {
    "Type", "DynamicUser", "SupplementaryGroups", "LoadCredential", "ExecStart", "MemoryMax",
    "CPUQuota", "LimitNOFILE", "NoNewPrivileges", "ProtectSystem", "CapabilityBoundingSet",
    "AmbientCapabilities",
}  # fmt: skip
FOR_SYSTEMD = {
    "Restart", "RestartSec", "Nice", "ProtectHome", "PrivateTmp", "PrivateDevices",
    "ProtectKernelTunables", "ProtectKernelModules", "ProtectClock", "RestrictAddressFamilies",
    "RestrictNamespaces", "LockPersonality",
}  # fmt: skip
"""What takes away what a sampler does not ask for, or says what happens after its end."""

OWN_NETWORK = (
    "ip link add one type veth peer name two && ip link set one up && ip link set two up && "
    "exec sleep 600"
)


def service() -> dict[str, str]:
    """The section Service, in which each key stands once."""
    section = UNIT.read_text(encoding="utf-8").split("[Service]\n")[1].split("\n[")[0]
    pairs = [line.split("=", 1) for line in section.splitlines() if line and line[0] not in "#;"]
    found = dict(pairs)
    assert len(found) == len(pairs)
    return found


def bytes_of(size: str) -> int:
    return int(size[:-1]) * 1024 ** "BKMGT".index(size[-1])


def install(root: MountedRoot) -> list[str]:
    """Puts the unit where the documentation does and the command where it says; gives that."""
    root.put(PLACE, UNIT.read_text(encoding="utf-8"))
    command = shlex.split(service()["ExecStart"])
    installed = Path(sys.executable).parent / "jupyterhub-metrics"
    root.put(command[0], installed.read_text(encoding="utf-8"), mode=0o755)
    return command


def configured(database: SamplerDatabase, container: str) -> str:
    """``sampler.yaml`` with two lines changed: where the database is, and a container."""
    text = (FOLDER / "sampler.yaml").read_text(encoding="utf-8")
    for line, instead in (
        ("  host: localhost\n", f"  host: {database.host}\n"),
        ("  containers: []\n", f"  containers: [{container}]\n"),
    ):
        assert text.count(line) == 1
        text = text.replace(line, instead)
    return text


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


@pytest.mark.needs("mount")
@pytest.mark.needs("cgroups")
@pytest.mark.needs("ip")
async def test_the_unit_samples_the_host_as_an_account_of_its_own(
    short_dir: Path, tmp_path: Path
) -> None:
    told = service()
    assert set(told) == APPLIED | FOR_SYSTEMD
    assert (told["Type"], told["DynamicUser"]) == ("simple", "yes")
    assert (told["ProtectSystem"], told["NoNewPrivileges"]) == ("strict", "yes")
    groups = []
    with suppress(KeyError):
        groups = [str(grp.getgrnam(told["SupplementaryGroups"]).gr_gid)]
    rights = [
        f"--reuid={DYNAMIC_USER}", f"--regid={DYNAMIC_USER}",
        f"--groups={','.join([str(DYNAMIC_USER), *groups])}", "--no-new-privs",
        *at_most(told["CapabilityBoundingSet"].split()),
        *ambient(told["AmbientCapabilities"].split()),
    ]  # fmt: skip
    root = MountedRoot(tmp_path / "root")
    command = install(root)
    credential, source = told["LoadCredential"].split(":")
    credentials = f"/run/credentials/{UNIT.name}"
    environment = {
        **this_package(),
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
        "HOME": "/",
        "CREDENTIALS_DIRECTORY": credentials,
    }
    command = [
        part.replace("${CREDENTIALS_DIRECTORY}", environment["CREDENTIALS_DIRECTORY"])
        for part in command
    ]
    async with sampler_database(short_dir) as database:
        with RealGroup() as limited, RealGroup() as container:
            limited.limit_memory(bytes_of(told["MemoryMax"]))
            limited.limit_cpu(int(told["CPUQuota"].rstrip("%")) / 100)
            root.put(source, f"{database.password}\n", mode=0o600)
            root.put(
                f"{credentials}/{credential}",
                f"{database.password}\n", mode=0o400, owner=DYNAMIC_USER,
            )  # fmt: skip
            root.put(
                "/etc/jupyterhub-metrics/sampler.yaml", configured(database, f"/{container.path}")
            )
            inside = ["unshare", "--net", "sh", "-c", OWN_NETWORK]
            with container.running(inside):
                sampler = root.start(
                    command,
                    environment,
                    rights=rights,
                    files=int(told["LimitNOFILE"]),
                    group=limited,
                )
                try:

                    async def both_arrive() -> bool:
                        assert sampler.poll() is None, sampler.communicate()
                        rows = await database.rows_where("sample_time > 0")
                        return {row["node_flag"] for row in rows} == {True, False}

                    await until(both_arrive, "rows of the host and of the container")
                    status = status_of(sampler.pid)
                finally:
                    sampler.send_signal(signal.SIGTERM)
                    said, _ = await asyncio.to_thread(sampler.communicate, timeout=60)
        assert sampler.returncode == 0, said
        assert database.password not in said
        assert "WARN" not in said
        assert status["Uid"].split() == [str(DYNAMIC_USER)] * 4
        assert int(status["CapEff"], 16) == 1 << 2 | 1 << 19
        nodes = await database.rows_where("node_flag")
        assert all(row["cpu_total_pct"] is not None for row in nodes)
        for row in await database.rows_where("NOT node_flag"):
            assert (row["container_name"], row["source"]) == (f"/{container.path}", "cgroup")
            assert row["cpu_total_pct"] is not None
            # which it finds by a process of another account
            assert row["net_rx_mb_s"] is not None


@pytest.mark.needs("mount")
@pytest.mark.needs("systemd-analyze")
def test_systemds_own_parser_finds_nothing_wrong_in_the_unit(tmp_path: Path) -> None:
    root = MountedRoot(tmp_path / "root")
    install(root)
    for folder in ("/run", "/tmp", "/var"):
        root.empty(folder)

    def verified() -> tuple[int, str]:
        ask = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", PLACE]
        environment = {"PATH": "/usr/bin:/bin"}
        parser = root.start(ask, environment, rights=["--no-new-privs"])
        said, _ = parser.communicate(timeout=60)
        return parser.returncode, said

    assert verified() == (0, "")
    text = UNIT.read_text(encoding="utf-8")
    root.put(PLACE, text.replace("MemoryMax=120M", "MemoryMax=plenty"))
    status, said = verified()
    assert status != 0
    assert re.search(r"Invalid memory limit 'plenty'", said)
