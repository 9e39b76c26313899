"""Fixtures of the integration tests: a SLURM cluster of one node, and a browser."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        yield chromium.new_page()
        chromium.close()


_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")

_CONF = """\
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=1000
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=8000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Start a cluster on this machine, and set SLURM_CONF and PATH for its programs."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a SLURM cluster")
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    programs = {name: shutil.which(name, path=path) for name in _PROGRAMS}
    if missing := [name for name, found in programs.items() if found is None]:
        pytest.skip(f"{', '.join(missing)} not installed: see Debian's packages slurm-wlm and munge")
    root = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (root / name).mkdir()
    conf, key, pid = root / "slurm.conf", root / "munge.key", root / "munged.pid"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    ports = [_free_port(), _free_port()]
    conf.write_text(_CONF.format(host=socket.gethostname().split(".")[0], ports=ports, root=root, cpus=os.cpu_count()))
    patch = pytest.MonkeyPatch()
    patch.setenv("SLURM_CONF", str(conf))
    patch.setenv("PATH", path)
    files = [f"--{what}-file={root}/{name}" for what, name in (("log", "munged.log"), ("seed", "munged.seed"))]
    socket_file = f"--socket={root}/munge.socket"
    started = [
        [programs["munged"], "--force", socket_file, f"--key-file={key}", f"--pid-file={pid}", *files],
        [programs["slurmctld"], "-c", "-f", str(conf)],
        [programs["slurmd"], "-f", str(conf), "-N", socket.gethostname().split(".")[0]],
    ]
    try:
        for command in started:
            subprocess.run(command, check=True, timeout=60)
        for _ in range(60):
            if "idle" in subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout:
                break
            time.sleep(0.5)
        else:
            pytest.fail(f"the cluster did not start:\n{(root / 'slurmctld.log').read_text()[-2000:]}")
        yield
    finally:
        subprocess.run(["scancel", "--user=root"])
        for _ in range(60):
            if not subprocess.run(["squeue", "-h"], capture_output=True, text=True).stdout:
                break
            time.sleep(0.5)
        for file in (root / "slurmd.pid", root / "slurmctld.pid", pid):
            if file.exists():
                subprocess.run(["kill", file.read_text().strip()])
        patch.undo()
