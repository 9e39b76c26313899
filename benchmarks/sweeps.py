"""Overhead of a sweep, and time and memory of its report.

    python benchmarks/sweeps.py [--runs 500] [--steps 10000]

- `deblurlab report sweep` on 500 generated runs (100 configurations, 5 seeds) with 10,000 logged steps each: time and
  peak memory of the command. Targets: at most 20 s and 2 GB.
- The time of a sweep of 4 trainings in one process and with hydra/launcher=parallel, relative to 4 single commands.
  Target: at most 1.05.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from deblurlab.media.images import write_png
from deblurlab.runs.files import write_csv

TRAINING = [
    "+debug=smoke", "model.width=8", "model.depth=2", "model.blocks=1", "discriminator.width=8", "loss=l1+adv",
    "trainer.max_steps=150", "trainer.val_check_interval=150", "trainer.accelerator=cpu",
]  # fmt: skip
SEEDS = 4


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
            "sets": {"photographs": {"images": len(names), **means}},
        }  # fmt: skip
        (run / "results.json").write_text(json.dumps(results))
        with (run / "metrics.csv").open("w") as file:
            file.write("step,epoch,loss/l1,loss/vgg,lr/generator,gradient/generator,val/psnr,val/ssim\n")
            for step, (l1, vgg) in enumerate(random.random((steps, 2)).tolist(), start=1):
                validation = f"{20 + step / steps},0.7" if step % every == 0 else ","
                file.write(f"{step},0,{l1},{vgg},0.0001,1.234,{validation}\n")
        write_png(run / "samples" / "test_a-0.png", random.integers(0, 256, (320, 960, 3), dtype=np.uint8))


def report(folder: Path) -> None:
    """Print the time and the peak memory of the report, and the size of the page."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "deblurlab", "report", "sweep", str(folder)], check=True, capture_output=True)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
    page = (folder / "report.html").stat().st_size / 2**20
    print(f"report sweep: {seconds:.1f} s, {memory:.0f} MiB; the page {page:.1f} MiB")


def sweeps(folder: Path) -> None:
    """Print the times of sweeps relative to single commands."""

    def seconds(*overrides: str) -> float:
        start = time.perf_counter()
        command = [sys.executable, "-m", "deblurlab", "train", *overrides, *TRAINING, f"data.root={folder}/data"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - start

    seconds("runs=warm")  # generates the data
    seeds = range(1, SEEDS + 1)
    single = sum(seconds("runs=single", f"seed={seed}") for seed in seeds)
    all_seeds = "seed=" + ",".join(map(str, seeds))
    sequential = seconds("-m", "runs=sweep", all_seeds)
    parallel = seconds("-m", "runs=parallel", all_seeds, "hydra/launcher=parallel")
    print(f"{SEEDS} single runs: {single:.1f} s")
    print(f"sweep / single runs: {sequential / single:.3f}; hydra/launcher=parallel: {parallel / single:.3f}")


def main() -> None:
    """Run both measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500, help="number of generated runs")
    parser.add_argument("--steps", type=int, default=10_000, help="logged steps of each run")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        write_runs(folder / "generated", options.runs, options.steps)
        report(folder / "generated")
        sweeps(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
