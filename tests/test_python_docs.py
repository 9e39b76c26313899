"""The code of docs/python.md runs, from top to bottom."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import skimage.metrics
import torch

import deblurlab
from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.config import CONF, compose
from deblurlab.training import PairedRestoration, Restoration
from deblurlab.training import module as step

PAGE = (CONF.parent / "docs" / "python.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the variables after all blocks have run in one folder, which has the examples in it."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "examples").symlink_to(CONF.parent / "examples")
    variables: dict[str, Any] = {"__name__": "page"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(CONF.parent / "examples" / "my_package")
        for block in BLOCKS:
            exec(compile(block, "docs/python.md", "exec"), variables)
    return {**variables, "folder": folder}


def test_every_public_name_is_listed_and_used() -> None:
    listed = re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")))
    public = {name for name in dir(deblurlab) if not name.startswith("__")}
    assert public <= set(listed)
    code = "".join(BLOCKS)
    assert [name for name in sorted(public) if f"{name}(" not in code and f"{name}." not in code] == []


def test_images_are_restored(page: dict[str, Any]) -> None:
    assert page["restorer"].restore(page["photograph"]).shape == page["photograph"].shape == (96, 96, 3)
    assert page["output"].shape == (1, 3, 50, 70)


def test_runs_have_their_results(page: dict[str, Any]) -> None:
    assert page["results"]["steps"] == 2
    assert page["results"]["sets"]["photographs"]["images"] == 5
    assert page["measured"]["sets"]["photographs"]["images"] == 1
    assert (page["folder"] / "runs" / "mine" / "report.html").exists()


def test_the_metric_of_the_loop_is_that_of_scikit_image(page: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(page["folder"])
    (batch,) = page["validation"]
    blurred, sharp = (batch[key] / 255 for key in ("blurred", "sharp"))
    with torch.no_grad():
        restored = page["network"](blurred).clamp(0, 1)
    expected = skimage.metrics.peak_signal_noise_ratio(sharp.double().numpy(), restored.double().numpy(), data_range=1)
    assert page["value"].item() == pytest.approx(expected, abs=1e-5)
    assert batch["blurred"].dtype == batch["sharp"].dtype == torch.uint8


def test_the_module_of_a_checkpoint_has_its_weights(page: dict[str, Any]) -> None:
    content = read_checkpoint(page["folder"] / "runs" / "mine" / "checkpoints" / "last.ckpt")
    state = page["loaded"].state_dict()
    assert set(state) == set(content["state_dict"])
    assert all(torch.equal(state[name], value) for name, value in content["state_dict"].items())
    assert page["loaded"].weights == {"l1": 1.0, "ssim": 0.1}


def test_the_subclass_adds_its_loss_term(page: dict[str, Any]) -> None:
    """The gradient of a mirrored pass is included, so the weighted sum differs from the plain module's."""
    value = page["trainer"].callback_metrics["loss/mirror"]
    assert 0 < value.item() < 1
    assert page["module"].weights == {"l1": 1.0}


def test_the_named_methods_exist_and_all_others_are_private() -> None:
    section = PAGE.split("## Another training step")[1].split("```")[0]
    named = set(re.findall(r"\b([a-z]\w+)\(|`([a-z_]+)`", section))
    methods = {a or b for a, b in named} - {"super"}
    own = {
        name
        for kind in (PairedRestoration, *deblurlab.training.CycleRestoration.__mro__)
        if kind.__module__.startswith("deblurlab.training")
        for name, value in vars(kind).items()
        if (callable(value) or isinstance(value, (property, classmethod))) and not name.startswith("_")
    }
    lightning = {name for name in own if name.startswith("on_")} | {"setup", "load_from_checkpoint"}
    assert own - lightning == methods - lightning
    assert issubclass(PairedRestoration, Restoration)
    assert step.Restoration is Restoration


def test_a_subclass_is_chosen_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "from deblurlab.training import PairedRestoration\nclass MirrorConsistency(PairedRestoration): ..."
    )
    (tmp_path / "conf" / "module").mkdir(parents=True)
    (tmp_path / "conf" / "module" / "mirror.yaml").write_text(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
    monkeypatch.syspath_prepend(tmp_path)
    small = ["model=unet_res_small", "loss=l1"]
    chosen = deblurlab.build(compose(*small, "module=mirror", config_dirs=[tmp_path / "conf"]))
    named = deblurlab.build(compose(*small, "module._target_=mine.MirrorConsistency"))
    assert type(chosen) is type(named)
    assert type(chosen).__name__ == "MirrorConsistency"
    del sys.modules["mine"]  # other tests have a package of this name
