"""A run through Slurm: a cluster of one node on loopback, from Debian's packages slurmctld, slurmd and munge."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows.slurm import submit
from pipeline.errors import GristmillError
from pipeline.recipe import load_recipe
from tests.conftest import SAMPLE, tree
from tests.flows.conftest import free_port, wait_for

pytestmark = pytest.mark.cluster

CONF = """
ClusterName=gristmill
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SrunPortRange={srun}-{srun_last}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
AuthInfo=socket={home}/munge/socket
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
MinJobAge=600
NodeName=localhost NodeAddr=127.0.0.1 CPUs=2 RealMemory={memory} State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES State=UP MaxTime=INFINITE
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A cluster that listens on loopback alone."""
    lacking = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]
    if lacking or os.geteuid() != 0:
        pytest.skip("needs root and Slurm (apt-get install slurmctld slurmd munge)")
    home = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: the path of a socket has 108 bytes
    for name in ("munge", "state", "spool"):
        (home / name).mkdir(mode=0o700)
    key = home / "munge/key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    srun = free_port()
    conf = CONF.format(
        home=home,
        controller=free_port(),
        node=free_port(),
        srun=srun,
        srun_last=srun + 20,
        memory=(psutil.virtual_memory().total >> 20) * 9 // 10,
    )
    (home / "slurm.conf").write_text(conf)
    munge = [f"--{name}={home}/munge/{name.partition('-')[0]}" for name in ("key-file", "socket", "pid-file")]
    munge += [f"--log-file={home}/munge/log", f"--seed-file={home}/munge/seed", "--force", "--foreground"]
    commands = (["munged", *munge], ["slurmctld", "-D"], ["slurmd", "-D", "-N", "localhost"])
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(home / "slurm.conf")
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        with (home / "log").open("wb") as log:
            for command in commands:
                daemons.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
                time.sleep(1)
        try:
            wait_for(lambda: "idle" in said("sinfo", "--noheader"), "an idle node", 30)
        except AssertionError:
            pytest.fail((home / "log").read_text()[-2000:])
        yield
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(20)
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(home, ignore_errors=True)


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout


def job_state(job: str) -> str:
    """COMPLETED, FAILED, …; empty while it waits or works."""
    told = said("scontrol", "--oneliner", "show", "job", job)
    state = told.partition("JobState=")[2].split()[0] if "JobState=" in told else "UNKNOWN"
    if "DependencyNeverSatisfied" in told:
        return "NEVER"
    return "" if state in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING") else state


def logs(out: Path) -> str:
    return "\n".join(path.read_text()[-2000:] for path in out.glob("run/slurm-*/*/slurm_logs/*"))


@pytest.mark.usefixtures("slurm")
def test_a_job_array_that_is_killed_and_submitted_again_publishes_the_same_bytes(
    light: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    out, recipe = tmp_path / "ds", load_recipe(light[0])

    def send() -> str:
        return submit(recipe, [str(SAMPLE)], str(out), "cpu", tasks=2, cores=2, memory_gb_a_core=1)

    first = send()
    wait_for(lambda: list(out.glob("run/work/refine/*/manifest.json")), "a refined split", pause=0.02)
    array = said("squeue", "--noheader", "--format=%A %j").splitlines()
    killed = {line.split()[0] for line in array if "gristmill-refine" in line}
    assert killed
    said("scancel", "--signal=KILL", "--full", *killed)
    wait_for(lambda: job_state(first) in ("NEVER", "CANCELLED"), "the last job to be given up", 60)
    assert not (out / "manifest.json").exists()
    said("scancel", first)

    second = send()
    wait_for(lambda: job_state(second), "the last job")
    assert job_state(second) == "COMPLETED", logs(out)
    assert tree(out) == light[1]


def test_without_slurm_it_says_so(
    light: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GristmillError, match="sbatch is not there"):
        submit(load_recipe(light[0]), [str(SAMPLE)], str(tmp_path / "ds"), "cpu")
