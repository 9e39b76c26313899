"""Large packages are imported only by what needs them. `benchmarks/imports.py` measures the cost."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

import deblurlab
from deblurlab.checkpoints.io import write_checkpoint
from deblurlab.cli.main import _MODULES as COMMANDS
from deblurlab.config import instantiate
from deblurlab.dataloading import DataModule
from deblurlab.datasets import Folders
from deblurlab.models import UNetRes
from support import config, feeding

LARGE = {
    "torch", "torchvision", "pytorch_lightning", "torchmetrics", "matplotlib", "albumentations", "lpips", "scipy",
    "skimage", "cv2", "hydra", "wandb", "timm",
}  # fmt: skip
PACKAGES = sorted(stub.parent.name for stub in Path(deblurlab.__file__).parent.glob("*/__init__.pyi"))
RUN_COMMANDS = """
import json, sys
from deblurlab.cli import main
for arguments, code in json.loads(sys.argv[1]):
    sys.argv = ["deblurlab", *arguments]
    try:
        main()
        ended = 0
    except SystemExit as end:
        ended = 1 if isinstance(end.code, str) else end.code or 0
    assert ended == code, (arguments, ended)
"""


def _loaded(code: str, *arguments: str, folder: Path) -> set[str]:
    """Return the large packages that a new process has imported after running code."""
    code += f"\nimport sys; print(*({LARGE} & sys.modules.keys()), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


def _run(*commands: tuple[list[str], int], folder: Path) -> set[str]:
    """Return the large packages that a new process has imported after commands that end with these exit codes."""
    return _loaded(RUN_COMMANDS, json.dumps(commands), folder=folder)


def test_help_and_wrong_arguments_need_no_torch(tmp_path: Path) -> None:
    plain = [command for command in COMMANDS if command not in ("train", "evaluate")]
    nested = [["data", "check"], ["data", "pack"], ["data", "show"], ["data", "average"], ["report", "table"]]
    helps = [([*words, "--help"], 0) for words in [[], *([name] for name in plain), *nested, ["weights", "convert"]]]
    assert _run(*helps, folder=tmp_path) == set()
    assert _run((["train", "--help"], 0), folder=tmp_path) == {"hydra"}
    wrong = [
        (["restore"], 1), (["restore", "a.png", "--tile", "x"], 1), (["restore", "a.png", "--shard", "3/2"], 1),
        (["serve", "--weights", "a", "b/a"], 1), (["export", "run"], 2), (["weights", "convert", "file"], 2),
        (["data", "check", "nothing"], 1), (["report", "table", "nothing"], 1), (["dashboard", "show"], 2),
    ]  # fmt: skip
    assert _run(*wrong, folder=tmp_path) == {"hydra"}


def test_reports_need_no_torch(tmp_path: Path) -> None:
    for name, psnr in (("a", 25.0), ("b", 26.0)):
        scores = {"images": 2, "psnr": psnr, "psnr_blurred": 20.0, "failed": 0, "untouched": 0}
        results = {
            "name": name, "options": {"restorer": name}, "settings": {"restorer": {}, "psf": {}}, "failed": {},
            "metrics": {"psnr": {"title": "PSNR", "higher_is_better": True}},
            "protocol": {"psnr": "RGB"}, "unavailable": {}, "sets": {"test": scores}, "seconds_per_megapixel": 1.0,
            "peak_memory_mib": 10.0,
        }  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(results))
        rows = f"test,x/0,20.0,{psnr}\ntest,y/0,20.0,{psnr}\n"
        (tmp_path / name / "per_image.csv").write_text(f"set,image,psnr_blurred,psnr\n{rows}")
    commands = (["report", "table", "a", "b"], 0), (["report", "compare", "a", "b"], 0)
    assert _run(*commands, folder=tmp_path) == set()


def test_restoring_files_needs_few_packages(tmp_path: Path) -> None:
    Image.new("RGB", (48, 32)).save(tmp_path / "blurred.png")
    assert _run((["restore", "blurred.png"], 0), folder=tmp_path) == {"torch", "hydra"}
    assert Image.open(tmp_path / "restored" / "blurred.png").size == (48, 32)


def test_a_checkpoint_is_read_without_lightning(tmp_path: Path) -> None:
    arguments = {"width": 4, "depth": 1}
    weights = {f"generator.{name}": value for name, value in UNetRes(**arguments).state_dict().items()}
    node = {"_target_": "deblurlab.models.UNetRes", **arguments}
    write_checkpoint({"state_dict": weights, "record": {"model": node}}, tmp_path / "best.ckpt")
    code = "import numpy; from deblurlab import Restorer; restorer = Restorer.load('best.ckpt')\n"
    code += "assert restorer.restore(numpy.zeros((32, 32, 3))).shape == (32, 32, 3)"
    assert _loaded(code, folder=tmp_path) == {"torch", "hydra"}


def test_a_function_named_as_its_module_is_the_function(tmp_path: Path) -> None:
    code = "\n".join(
        f"import deblurlab.metrics.{name}; from deblurlab.metrics import {name}; assert callable({name})"
        for name in ("psnr", "ssim", "sharpness")
    )
    assert _loaded(code, folder=tmp_path) == {"torch", "cv2"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_exists(package: str) -> None:
    module = import_module(f"deblurlab.{package}")
    assert module.__all__
    for name in module.__all__:
        assert not isinstance(getattr(module, name), type(sys)), name


def test_the_package_itself_loads_nothing_large_and_has_its_names(tmp_path: Path) -> None:
    assert _loaded("import deblurlab; assert 'Restorer' in dir(deblurlab)", folder=tmp_path) == set()
    assert _loaded("from deblurlab import compose", folder=tmp_path) == {"hydra"}
    assert _loaded("from deblurlab import load_model", folder=tmp_path) == {"torch", "hydra"}
    for name in dir(deblurlab):
        assert not isinstance(getattr(deblurlab, name), type(sys)), name


def test_dir_and_all_are_the_public_names(tmp_path: Path) -> None:
    public = ["Restorer", "build", "build_data", "compose", "evaluate", "instantiate", "load_model", "train"]
    assert sorted(vars(deblurlab)["__all__"]) == public
    code = "import deblurlab, deblurlab.losses, json; print(json.dumps([dir(deblurlab), dir(deblurlab.losses)]))"
    code += "\nfrom deblurlab import *; print(json.dumps(sorted(globals())))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    (names, losses), imported = (json.loads(line) for line in done.stdout.splitlines())
    assert names == public  # neither modules that are loaded, such as losses, nor what the package itself imports
    assert {"L1", "SSIM", "LossTerm"} <= set(losses)
    assert {name for name in losses if name.islower()} == set()
    assert {name for name in imported if not name.startswith("__")} == {*public, "deblurlab", "json"}


def test_windows_is_refused() -> None:
    code = "import sys; sys.platform = 'win32'; import deblurlab"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("ImportError: deblurlab doesn't run on Windows: use Linux")


WORKER = """
import multiprocessing, pickle, sys
from pathlib import Path
from deblurlab.dataloading.fork_server import start_fork_server

def work(queue):
    before = set(sys.modules)
    dataset, initialise = pickle.loads(Path("worker.pickle").read_bytes())
    initialise(0)
    sample = dataset[0, 0, 32]
    queue.put((before, set(sys.modules), sample["blurred"].shape))

if __name__ == "__main__":
    multiprocessing.set_start_method("forkserver")
    start_fork_server()
    assert "torch" not in sys.modules
    queue = multiprocessing.SimpleQueue()
    worker = multiprocessing.Process(target=work, args=(queue,))
    worker.start()
    before, after, shape = queue.get()
    worker.join()
    assert {"torch", "albumentations"} <= before
    assert not {"pytorch_lightning", "torchmetrics", "torchvision", "matplotlib"} & after
    assert tuple(shape) == (3, 32, 32)
"""


def test_workers_are_forked_with_their_modules_and_without_lightning(
    tmp_path: Path, write_pairs: Callable[..., tuple[Path, Path]]
) -> None:
    """The start method of Python 3.14."""
    blurred, sharp = write_pairs(10)
    module = DataModule(
        data=Folders(blurred=str(blurred), sharp=str(sharp)), size=32, batch_size=2, workers=2,
        augmentations=lambda size: instantiate(config(f"augment.size={size}").augment),
    )  # fmt: skip
    loader = feeding(module).train_dataloader()._make_loader([])
    (tmp_path / "worker.pickle").write_bytes(pickle.dumps((loader.dataset, loader.worker_init_fn)))
    (tmp_path / "main.py").write_text(WORKER)
    done = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
