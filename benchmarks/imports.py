"""Cost of imports: CPU time, number of modules and large packages of `import`s and of the commands.

    python benchmarks/imports.py                                  # about two minutes
    python benchmarks/imports.py --only restore --python PYTHON   # cases with "restore" in another environment

Prints a row per case, each in new processes with one thread; the CPU time is the least of `--runs`, also given in
multiples of that of `import torch`. `tests/test_imports.py` asserts the packages.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from common import argument_parser, parse, print_header, print_row

PACKAGES = (
    "torch", "torchvision", "pytorch_lightning", "torchmetrics", "matplotlib", "albumentations", "lpips", "scipy",
    "skimage", "cv2", "hydra", "wandb", "timm",
)  # fmt: skip
"""Packages that are named if a case imports them."""
MEASURE = f"""
import atexit, json, os, resource, sys

def report():
    times = resource.getrusage(resource.RUSAGE_SELF)
    packages = [name for name in {PACKAGES} if name in sys.modules]
    result = {{"seconds": times.ru_utime + times.ru_stime, "modules": len(sys.modules), "packages": packages}}
    os.write({{result}}, json.dumps(result).encode())

atexit.register(report)
"""
HELP = (
    "", "train", "evaluate", "restore", "serve", "data", "data check", "data pack", "data show", "data average",
    "report", "report table", "report compare", "report sweep", "dashboard", "export", "weights", "weights convert",
)  # fmt: skip
"""Commands whose `--help` is measured."""


TARGETS = {
    "from deblurlab import Restorer": "at most 2 x `import torch`",
    "deblurlab restore blurred.png --overwrite": "at most 2 x `import torch`",
    "deblurlab --help": "at most 0.2 s",
    "train.py --help": "at most 1 s",
}
"""Targets by case."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the cases and print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--python", default=sys.executable, help="interpreter to measure (default: this one)")
    parser.add_argument("--only", default="", metavar="TEXT", help="measure only cases with this text in their name")
    parser.add_argument("--runs", type=int, default=3, help="runs of each case (default: 3)")
    options = parse(parser, arguments)
    print_header("case", "CPU seconds", "/ `import torch`", "target", "modules", "large packages")
    with tempfile.TemporaryDirectory() as folder:
        torch_seconds = 0.0
        for name, code in cases(Path(folder)).items():
            if name != "import torch" and options.only not in name:
                continue
            runs = [measure(options.python, code, folder) for _ in range(options.runs)]
            seconds = min(run["seconds"] for run in runs)
            torch_seconds = torch_seconds or seconds  # the first case
            ratio, target = f"{seconds / torch_seconds:.2f}", TARGETS.get(name, "")
            modules, packages = str(runs[0]["modules"]), ", ".join(runs[0]["packages"])
            print_row(f"`{name}`", f"{seconds:.2f}", ratio, target, modules, packages)


def cases(folder: Path) -> dict[str, str]:
    """Return the code of each case by name, after writing the files that it reads."""
    for evaluation, psnr in (("a", 25.0), ("b", 26.0)):
        write_evaluation(folder / evaluation, psnr)
    Image.new("RGB", (64, 48)).save(folder / "blurred.png")
    script = "import deblurlab, runpy, sys; sys.argv = ['train.py', '--help']; runpy.run_path("
    script += "deblurlab.__file__.replace('src/deblurlab/__init__.py', 'train.py'), run_name='__main__')"
    commands = [
        *(f"{command} --help".strip() for command in HELP),
        "report table a b",
        "report compare a b",
        "dashboard show --entity me",
        "restore blurred.png --overwrite",
    ]
    return {
        "import torch": "import torch",
        "import deblurlab": "import deblurlab",
        "from deblurlab import Restorer": "from deblurlab import Restorer",
        "train.py --help": script,
        **{f"deblurlab {command}": command_code(command.split()) for command in commands},
    }


def command_code(arguments: list[str]) -> str:
    """Return the code that runs `deblurlab` with these arguments, as its console script does."""
    return f"import sys; sys.argv = ['deblurlab', *{arguments}]; from deblurlab.cli import main; main()"


def write_evaluation(folder: Path, psnr: float) -> None:
    """Write the files of a finished evaluation."""
    counts = {"failed": 0, "untouched": 0}
    results = {
        "name": folder.name, "options": {"restorer": folder.name}, "settings": {"restorer": {}, "psf": {}},
        "metrics": {"psnr": {"title": "PSNR", "higher_is_better": True}},
        "protocol": {"psnr": "RGB"}, "unavailable": {}, "failed": {}, "seconds_per_megapixel": 1.0,
        "peak_memory_mib": 10.0, "sets": {"test": {"images": 2, "psnr": psnr, "psnr_blurred": 20.0, **counts}},
    }  # fmt: skip
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(results))
    rows = "".join(f"test,{name},20.0,{psnr}\n" for name in ("x/0", "y/0"))
    (folder / "per_image.csv").write_text(f"set,image,psnr_blurred,psnr\n{rows}")


def measure(python: str, code: str, folder: str) -> dict[str, Any]:
    """Run code in a new process and return its CPU seconds, number of modules and large packages."""
    reader, writer = os.pipe()
    code = MEASURE.replace("{result}", str(writer)) + code
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(
        [python, "-c", code], cwd=folder, env=environment, pass_fds=[writer], check=True, capture_output=True
    )
    os.close(writer)
    with os.fdopen(reader) as result:
        return json.load(result)


if __name__ == "__main__":
    main()
