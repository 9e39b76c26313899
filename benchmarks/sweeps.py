"""Overhead of a sweep, and time and memory of its report.

    python benchmarks/sweeps.py [--runs 500] [--seeds 4]

- `deblurlab report sweep` on generated runs: time and peak memory of the command.
- The time of a sweep in one process (Hydra's launcher `basic`) and with `parallel`, relative to single commands.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common import argument_parser, parse, peak_memory, print_header, print_row
from deblurlab import config
from deblurlab.config import instantiate
from deblurlab.media.images import write_png
from deblurlab.runs.files import write_csv

TRAINING = [
    "+debug=smoke", "model.width=8", "model.depth=2", "model.blocks=1", "discriminator.width=8", "loss=l1+adv",
    "trainer.accelerator=cpu",
]  # fmt: skip


def write_runs(folder: Path, runs: int, steps: int) -> None:
    """Write the folders of finished runs, 5 seeds per configuration."""
    random = np.random.default_rng(0)
    names = [f"{p}/{i}" for p in "abcde" for i in range(8)]
    every = 200
    for number in range(runs):
        weight, seed = number // 5 / 100, number % 5
        run = folder / f"loss.vgg.weight-{weight}_seed-{seed}"
        (run / "samples").mkdir(parents=True)
        (run / "config.yaml").write_text("data: {root: data, train: 1000}\ntrainer: {max_steps: 10000}\n")
        (run / "overrides.yaml").write_text(f"- loss.vgg.weight={weight}\n- seed={seed}\n")
        values = 25 + weight + random.normal(0, 1, (len(names), 2)) * [1, 0.02]
        rows = [
            {"set": "photographs", "image": n, "psnr": p, "psnr_blurred": 24.0, "ssim": s, "ssim_blurred": 0.7}
            for n, (p, s) in zip(names, values.tolist(), strict=True)
        ]
        write_csv(run / "per_image.csv", rows)
        means = {"psnr": values[:, 0].mean(), "ssim": values[:, 1].mean(), "psnr_blurred": 24.0, "ssim_blurred": 0.7}
        results = {
            "name": run.name, "seed": seed, "seconds": 3600, "parameters": 10**6, "protocol": {"psnr": "RGB"},
            "metrics": {name: {"title": name.upper(), "higher_is_better": True} for name in ("psnr", "ssim")},
            "sets": {"photographs": {"images": len(names), **means}},
        }  # fmt: skip
        (run / "results.json").write_text(json.dumps(results))
        with (run / "metrics.csv").open("w") as file:
            file.write("step,epoch,loss/l1,loss/vgg,lr/generator,gradient/generator,val/psnr,val/ssim\n")
            for step, (l1, vgg) in enumerate(random.random((steps, 2)).tolist(), start=1):
                validation = f"{20 + step / steps},0.7" if step % every == 0 else ","
                file.write(f"{step},0,{l1},{vgg},0.0001,1.234,{validation}\n")
        write_png(run / "samples" / "test_a-0.png", random.integers(0, 256, (320, 960, 3), dtype=np.uint8))


def print_report(folder: Path) -> None:
    """Print the time and the peak memory of the report, and the size of the page."""
    memory, seconds = peak_memory([sys.executable, "-m", "deblurlab", "report", "sweep", str(folder)])
    print_row("`report sweep`, seconds", f"{seconds:.1f}", "at most 20")
    print_row("`report sweep`, peak memory (MiB)", f"{memory:.0f}", "at most 2000")
    print_row("`report sweep`, size of the page (MiB)", f"{(folder / 'report.html').stat().st_size / 2**20:.1f}", "-")


def print_sweeps(folder: Path, launchers: Sequence[str], seeds: int, max_steps: int) -> None:
    """Print the times of sweeps relative to single commands."""
    training = [*TRAINING, f"trainer.max_steps={max_steps}", f"trainer.val_check_interval={max_steps}"]

    def seconds(*overrides: str) -> float:
        start = time.perf_counter()
        command = [sys.executable, "-m", "deblurlab", "train", *overrides, *training, f"data.root={folder}/data"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - start

    single = sum(seconds("runs=single", f"seed={seed}") for seed in range(seeds))
    every_seed = "seed=" + ",".join(map(str, range(seeds)))
    for launcher in launchers:
        sweep = seconds("-m", f"runs={launcher}", every_seed, f"hydra/launcher={launcher}")
        name = f"{seeds} trainings, hydra/launcher={launcher} / single commands ({single:.1f} s)"
        print_row(name, f"{sweep / single:.3f}", "at most 1.05")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both measurements."""
    parser = argument_parser(__doc__)
    parser.add_argument("--runs", type=int, default=500, help="number of generated runs, 5 per configuration")
    parser.add_argument("--logged", type=int, default=10_000, help="logged steps of each generated run")
    parser.add_argument("--seeds", type=int, default=4, help="number of trainings in the sweep")
    parser.add_argument("--steps", type=int, default=150, help="steps of each training")
    parser.add_argument("--launchers", nargs="+", default=["basic", "parallel"], help="Hydra launchers of the sweeps")
    options = parse(parser, arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        instantiate(config.compose(*TRAINING, f"data.root={folder}/data").data).prepare()
        print_header("measurement", "measured", "target")
        write_runs(folder / "generated", options.runs, options.logged)
        print_report(folder / "generated")
        print_sweeps(folder, options.launchers, options.seeds, options.steps)


if __name__ == "__main__":
    main()
