"""Command line, machine, timing, peak memory and tables of the benchmarks."""

import argparse
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

import torch

from deblurlab.runs.environment import revision

Clock = Callable[[], float]
MEASURE_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def argument_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the option `--threads`; `doc` is the description."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads of PyTorch")
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line, set the number of threads, and print date, revision and machine."""
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(f"Measured on {machine()}.\n", flush=True)
    return options


def machine() -> str:
    """Return date, revision, processor, number of threads, GPU and version of PyTorch."""
    found = revision()
    commit = f"revision {(found['commit'] or found['version'])[:7]}{' with changes' if found['modified'] else ''}"
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    threads = f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}"
    return ", ".join(
        [str(date.today()), commit, *gpu, processor(), threads, f"torch {torch.__version__.split('+')[0]}"]
    )


def processor() -> str:
    """Return the name of the processor, and its bfloat16 instructions where Linux lists them."""
    file = Path("/proc/cpuinfo")
    info = file.read_text() if file.exists() else ""
    name = re.search(r"model name\s*: (.*)", info)
    bfloat16 = sorted(set(re.findall(r"\b(?:avx512|amx)_bf16\b", info)))
    return (name[1] if name else platform.processor()) + (f" ({', '.join(bfloat16)})" if bfloat16 else "")


def alternate(
    calls: Mapping[str, Callable[[], object]], runs: int, *, warm_up: int = 0, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Return the seconds of `runs` alternating calls each, so that other load affects all equally.

    Args:
        calls: What to measure, by name.
        runs: Number of calls of each.
        warm_up: Number of calls of each that come before and don't count.
        clock: Clock in seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(warm_up + runs):
        for name, call in calls.items():
            start = clock()
            call()
            seconds[name].append(clock() - start)
    return {name: values[warm_up:] for name, values in seconds.items()}


def median_ratio(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the median of the ratios of alternating measurements."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def peak_memory(command: Sequence[str | Path]) -> tuple[float, float]:
    """Return the peak memory in MiB, and the seconds, of a command.

    A small process starts it: a child's peak is at least the memory of the process that it was forked from.
    """
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", MEASURE_PEAK, *command], check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout) / 2**10, time.perf_counter() - start


def print_header(*cells: str) -> None:
    """Print the header of a Markdown table."""
    print_row(*cells)
    print("|" + "---|" * len(cells), flush=True)


def print_row(*cells: str) -> None:
    """Print a row of a Markdown table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def read_rows(text: str) -> list[dict[str, str]]:
    """Return the rows of all Markdown tables in a text, each by the cells of its header."""
    rows, header = [], None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else None
        if cells is None or header is None:
            header = cells
        elif not line.startswith("|---"):
            rows.append(dict(zip(header, cells, strict=True)))
    return rows
