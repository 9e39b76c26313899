"""Small trainings in separate processes, and the comparison of their outcomes bit by bit."""

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from injection import Act, Moments
from lightning_utilities.core.rank_zero import rank_zero_only
from PIL import Image

import deblurlab.training.run  # noqa: F401  imported once, before all forks
from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.runs.folder import Run

EVERY, VALIDATION, STEPS = 4, 6, 12
_COMMON = [
    "model=unet_res", "model.width=4", "model.depth=1", "model.blocks=1", "model.norm=batch", "discriminator.width=4",
    "discriminator.n_layers=1", "discriminator.norm=spectral", "augment.size=32", "loader.batch_size=2",
    "module.image_pool=4", f"trainer.max_steps={STEPS}", f"trainer.val_check_interval={VALIDATION}",
    "trainer.log_every_n_steps=1", f"callbacks.checkpoints.every={EVERY}", "trainer.accelerator=cpu",
    "+callbacks.preemption.every=1", "data=pairs", "data.blurred=pairs/blurred", "data.sharp=pairs/sharp",
    "data.val_share=0.25", "hydra.job_logging.root.level=WARNING",
]  # fmt: skip
KINDS = {
    # WGAN-GP uses the global random state in each step.
    "paired": ["loss=l1+adv_wgan_gp", "module.n_critic=2"],
    "cycle": ["module=cycle", "loss=cycle+identity+adv_ls+l1", "callbacks.checkpoints.monitor=val/psnr"],
}


def make_data(folder: Path) -> None:
    """Write 12 random pairs."""
    rng = np.random.default_rng(0)
    for kind in ("blurred", "sharp"):
        (folder / "pairs" / kind).mkdir(parents=True)
        for i in range(12):  # nine training pairs: four and a half batches
            image = rng.integers(0, 256, (36, 44, 3), dtype=np.uint8)
            Image.fromarray(image).save(folder / "pairs" / kind / f"{i:02d}.png")


def arguments(kind: str, name: str, *, workers: int = 0, processes: int = 1, more: Sequence[str] = ()) -> list[str]:
    """Return the command-line arguments of a training."""
    trainer = ["trainer=ddp_cpu"] if processes > 1 else []
    # The option of a group precedes the overrides of its keys.
    return [*trainer, *_COMMON, *KINDS[kind], f"loader.workers={workers}", f"name={name}", *more]


def start(folder: Path, command: Sequence[str], *, rank: int = 0, world: int = 1, port: int = 0,
          act: tuple[str, int, Act] | None = None) -> int:  # fmt: skip
    """Start a training in a fork of this process, which has imported everything; return the process id."""
    if pid := os.fork():
        return pid
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores SIGINT in background jobs
        os.chdir(folder)
        log = os.open(f"{command_name(command)}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if world > 1:
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
            os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
            rank_zero_only.rank = rank  # set from the environment at import
        moments = Moments(*act) if act else Moments()
        code = _train(command)
        if rank == 0:
            Path(f"{command_name(command)}.moments").write_text(json.dumps(moments.counts))
    finally:
        os._exit(code)


def command_name(command: Sequence[str]) -> str:
    """Return the value of the argument name=."""
    return next(word.partition("=")[2] for word in command if word.startswith("name="))


def _train(command: Sequence[str]) -> int:
    from deblurlab.cli.hydra_commands import train as train_command

    sys.argv = ["train.py"]
    try:
        train_command(list(command))
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def wait_for(*pids: int) -> list[int]:
    """Return the exit statuses, negative for a signal. If a process fails the others are killed, as a launcher does."""
    running, codes = set(pids), {}
    while running:
        pid, status = os.wait()
        if pid in running:
            running.remove(pid)
            codes[pid] = os.waitstatus_to_exitcode(status)
            if codes[pid] not in (0, 128 + signal.SIGTERM, 128 + signal.SIGINT):
                for other in running:
                    os.kill(other, signal.SIGKILL)
    return [codes[pid] for pid in pids]


def free_port() -> int:
    """Return a free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(folder: Path, command: Sequence[str], *, processes: int = 1, act: tuple[str, int, Act] | None = None,
        acting_rank: int = 0) -> list[int]:  # fmt: skip
    """Run a training in one or several processes; return the exit statuses."""
    port = free_port()
    ranks = range(processes)
    return wait_for(*(
        start(folder, command, rank=r, world=processes, port=port, act=act if r == acting_rank else None) for r in ranks
    ))  # fmt: skip


def outcome(run: Path) -> dict[str, Any]:
    """Return the results of a training, without times and paths."""
    last = read_checkpoint(Run(run).last_checkpoint)
    keys = ("state_dict", "optimizer_states", "lr_schedulers", "memory", "streams", "global_step", "epoch")
    results = json.loads(Run(run).results_file.read_text())
    return {
        **{key: last[key] for key in keys},
        "callbacks": {name: state for name, state in last["callbacks"].items() if name != "Timer"},
        "best": read_checkpoint(Run(run).best_checkpoint)["state_dict"],
        "curves": Run(run).metrics_file.read_text(),
        "images": Run(run).per_image_file.read_text(),
        "results": {key: value for key, value in results.items() if key not in ("seconds", "finished", "name")},
    }


def difference(a: Any, b: Any, where: str = "") -> str | None:
    """Return the first difference of two outcomes, or None."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return None if torch.equal(a, b) else where
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return f"{where}: {sorted(map(str, a.keys() ^ b.keys()))}"
        return next(filter(None, (difference(a[key], b[key], f"{where}.{key}") for key in a)), None)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        found = (difference(x, y, f"{where}[{i}]") for i, (x, y) in enumerate(zip(a, b, strict=True)))
        return next(filter(None, found), None)
    return None if a == b else f"{where}: {a!r} and {b!r}"[:300]
