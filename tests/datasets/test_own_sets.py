"""Data sets of one's own: two methods, references that aren't files, items without references."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import own_sets
from deblurlab.config import CONF, instantiate
from deblurlab.dataloading import Augmentation, DataModule
from deblurlab.datasets import FileSet, ImageSet, Mixed, Pair, PairDataset, Single, Split
from deblurlab.datasets.samples import read_checked
from deblurlab.errors import UserError
from deblurlab.evaluation.run import evaluate
from deblurlab.media.images import write_png
from own_sets import COUNTS, SIDE, Darker, Independent, Wrong, image
from support import config, data_command, feeding


def _crop(size: int) -> Augmentation:
    return instantiate(config("augment=none", f"augment.size={size}").augment)


def _module(data: ImageSet, workers: int = 0) -> DataModule:
    module = DataModule(data=data, augmentations=_crop, size=SIDE, batch_size=2, workers=workers)
    return feeding(module)


@pytest.fixture
def options(tmp_path: Path) -> Path:
    """Config folder with an option for each of these data sets."""
    folder = tmp_path / "conf"
    (folder / "data").mkdir(parents=True)
    for name in ("Darker", "Independent", "Repeated", "Folder"):
        (folder / "data" / f"{name.lower()}.yaml").write_text(f"_target_: own_sets.{name}\n")
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_training_samples_are_what_the_reader_returns(workers: int) -> None:
    loader = _module(Darker(), workers).train_dataloader()
    batches = list(loader)
    loader.close()
    samples = {int(i): (b, s) for x in batches for i, b, s in zip(x["index"], x["blurred"], x["sharp"], strict=True)}
    assert samples.keys() == set(range(COUNTS["train"]))
    for i, tensors in samples.items():
        for side, tensor in zip(("blurred", "sharp"), tensors, strict=True):
            assert np.array_equal(tensor.permute(1, 2, 0).numpy(), image(i, side))


def test_the_test_set_has_the_name_test_unless_the_class_names_it() -> None:
    assert {name: len(items) for name, items in Darker().tests().items()} == {"test": COUNTS["test"]}

    class Named(Darker):
        def tests(self) -> dict[str, list[Pair]]:  # type: ignore[override]
            return {"easy": self.items("test")[:1], "hard": self.items("test")[1:]}

    loaders = _module(Named()).test_dataloader()
    assert [batch["name"] for loader in loaders for batch in loader] == [["test/200"], ["test/201"]]


def test_unreferenced_training_items_are_drawn_as_independent_sets() -> None:
    data = Independent()
    training = data.training({SIDE: _crop(SIDE)}, repeat=3, seed=0)
    assert training.sizes == [3 * COUNTS["train"]]
    drawn = set()
    for epoch in range(30):
        sample = training.dataset[epoch, 3, SIDE]
        assert np.array_equal(sample["blurred"].permute(1, 2, 0).numpy(), image(3, "blurred"))
        sharp = sample["unpaired_sharp"].permute(1, 2, 0).numpy()
        (number,) = [i for i in range(COUNTS["train"]) if np.array_equal(sharp, image(1000 + i, "sharp"))]
        drawn.add(number)
    assert len(drawn) > 4


def test_single_images_are_tested_but_not_trained_on() -> None:
    data = Independent()
    sample = PairDataset(data.items("test"), reader=data.read)[0, 1, 0]
    assert np.array_equal(sample["blurred"].permute(1, 2, 0).numpy(), image(201, "blurred"))
    assert not {"sharp", "unpaired_sharp"} & sample.keys()

    class Blurred(Darker):
        def items(self, split: Split) -> list[Single]:  # type: ignore[override]
            return [Single("a", (0, "blurred"))]

    with pytest.raises(UserError, match="the training item a is a single image: training items must be Pair or"):
        Blurred().training({}, repeat=1, seed=0)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("floats", r"float32 of shape \(48, 48, 3\)"),
        ("grey", r"uint8 of shape \(48, 48\)"),
        ("channels first", r"uint8 of shape \(3, 48, 48\)"),
        ("16 bits", r"uint16 of shape \(48, 48, 3\)"),
        ("with alpha", r"uint8 of shape \(48, 48, 4\)"),
        ("list", "list"),
    ],
)
def test_a_reader_that_breaks_the_contract_is_one_line(kind: str, found: str) -> None:
    data = Wrong(kind=kind)
    message = rf"the reader of the data set returned {found} for \(0, 'blurred'\): it must return RGB images, \(H, "
    with pytest.raises(UserError, match=message) as caught:
        read_checked((0, "blurred"), data.read)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=found):
        next(iter(_module(data).train_dataloader()))
    with pytest.raises(UserError, match=found):
        next(iter(_module(data).test_dataloader()[0]))


def test_it_is_a_part_of_a_mixture_and_of_unpaired_data(gopro_tree: Path) -> None:
    gopro = instantiate(config("data=gopro", f"data.root={gopro_tree}").data)
    mixed = Mixed(sets={"own": Darker(), "gopro": gopro}, weights={"own": 1.0, "gopro": 1.0})
    samples = PairDataset(mixed.items("train"), reader=mixed.read)
    assert {samples[0, i, 0]["name"].partition("/")[0] for i in range(len(samples))} == {"own", "gopro"}
    assert np.array_equal(samples[0, 2, 0]["sharp"].permute(1, 2, 0).numpy(), image(2, "sharp"))
    unpaired = instantiate(
        config("data=unpaired", "data.blurred={_target_: own_sets.Darker}", f"data.sharp={gopro_tree / 'test'}").data
    )
    drawn = unpaired.training({SIDE: _crop(SIDE)}, repeat=1, seed=0).dataset[0, 5, SIDE]
    assert np.array_equal(drawn["blurred"].permute(1, 2, 0).numpy(), image(5, "blurred"))


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    section = (CONF.parent / "docs" / "data.md").read_text().split("### A data set of your own\n")[1]
    names: dict[str, Any] = {}
    exec(section.split("```python\n")[1].split("```")[0], names)
    images = np.random.default_rng(0).integers(0, 256, (20, 2, 8, 8, 3), np.uint8)
    np.save(tmp_path / "pairs.npy", images)
    data = names["Array"](file=str(tmp_path / "pairs.npy"))
    assert [len(data.items(split)) for split in ("train", "val", "test")] == [16, 2, 2]
    assert [pair.name for pair in data.tests()["test"]] == ["000009", "000019"]
    assert np.array_equal(data.read(data.items("val")[1].sharp), images[18, 1])


# The command line


def test_check_reads_every_image(options: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data_command("check", "darker", "--config-dir", options) == 0
    output = capsys.readouterr().out
    assert "no problems found" in output
    assert [cell.strip() for cell in output.splitlines()[3].split("│")[1:5]] == ["train", "8", "-", "48x48"]
    assert data_command("check", "--config-dir", options, "repeated") == 1
    assert "(1, 'sharp') (test) is the same image as (1, 'sharp') (train)" in capsys.readouterr().out


def test_show_writes_pairs_and_single_images(options: Path, tmp_path: Path) -> None:
    for name, rows in (("darker", 6), ("independent", 6)):
        page = tmp_path / f"{name}.png"
        assert data_command("show", name, "-n", 2, "-o", page, "--config-dir", options) == 0
        with Image.open(page) as sheet:
            assert sheet.size == (3 * 486, rows * (480 + 22))
            residual = np.asarray(sheet)[16 + 240, 2 * 486 + 240]
        assert (residual == 255).all() == (name == "independent")  # nothing is shown beside an image without reference


def test_lists_and_frame_stores_need_files(options: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--fix-list lists pairs of files, and data=darker has other items"):
        data_command("check", "darker", "--config-dir", options, "--fix-list", tmp_path / "list.txt")
    with pytest.raises(UserError, match="data=darker has no image files below a folder"):
        data_command("pack", "darker", "--config-dir", options)


def test_files_of_ones_own_layout_are_packed(
    options: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Folder(FileSet):
        def items(self, split: Split) -> list[Pair]:
            places = sorted(self.root.glob("*/a.png")) if split == "train" else []
            return [Pair(place.parent.name, place, place.with_name("b.png")) for place in places]

    monkeypatch.setattr(own_sets, "Folder", Folder, raising=False)
    for i in range(3):
        (tmp_path / "set" / str(i)).mkdir(parents=True)
        for name, side in (("a", "blurred"), ("b", "sharp")):
            write_png(tmp_path / "set" / str(i) / f"{name}.png", image(i, side))
    arguments = ["folder", f"+data.root={tmp_path / 'set'}", "--config-dir", options]
    assert data_command("pack", *arguments) == 0
    assert "6 frames" in capsys.readouterr().out
    data = Folder(root=tmp_path / "set")
    data.open()
    assert isinstance(data.read(data.items("train")[1].blurred).base, np.memmap)
    assert np.array_equal(data.read(data.items("train")[1].blurred), image(1, "blurred"))
    data.open(packed=False)
    assert not isinstance(data.read(data.items("train")[1].blurred).base, np.memmap)
    assert data_command("check", *arguments) == 0


def test_an_unknown_set_lists_ones_own_options(options: Path) -> None:
    with pytest.raises(UserError, match=r"there is no data set nothing; known: darker, folder, gopro, .*independent"):
        data_command("check", "nothing", "--config-dir", options)
    with pytest.raises(UserError, match="the config folder .*nowhere doesn't exist"):
        data_command("check", "darker", "--config-dir", options / "nowhere")


def test_it_is_evaluated(options: Path, tmp_path: Path) -> None:
    """Every blurred image is darker by 10 levels: the PSNR is 20 log10(255 / 10)."""
    cfg = config("data=darker", "metric=psnr", name="evaluate", config_dirs=[options])
    cfg.run = str(tmp_path / "run")
    results = evaluate(cfg)
    assert results is not None
    assert results["sets"]["test"]["images"] == 2
    assert results["sets"]["test"]["psnr"] == pytest.approx(20 * np.log10(25.5))
    with (tmp_path / "run" / "per_image.csv").open(newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["test/200", "test/201"]


def test_images_without_references_are_evaluated_by_metrics_that_need_none(options: Path, tmp_path: Path) -> None:
    for metric in ("psnr", "sharpness"):
        cfg = config("data=independent", f"metric={metric}", name="evaluate", config_dirs=[options])
        cfg.run = str(tmp_path / metric)
        if metric == "psnr":
            with pytest.raises(UserError, match="images have no sharp references"):
                evaluate(cfg)
        else:
            results = evaluate(cfg)
            assert results is not None
            assert results["sets"]["test"]["images"] == 2


def test_gopro_is_evaluated_without_a_validation_split(gopro_copy: Path, tmp_path: Path) -> None:
    """There is a single training sequence, of which `data.validation=2` holds out two."""
    for name in ("b", "c"):
        (gopro_copy / "train" / name).rename(tmp_path / name)
    cfg = config("data=gopro", f"data.root={gopro_copy}", "metric=psnr", name="evaluate")
    cfg.run = str(tmp_path / "run")
    results = evaluate(cfg)
    assert results is not None
    assert results["sets"]["gopro"]["images"] == 2


def test_it_trains(options: Path, train: Callable[..., Path]) -> None:
    run = train("--config-dir", str(options), "data=darker", "augment.size=32")
    results = json.loads((run / "results.json").read_text())
    assert results["sets"].keys() == {"test"}
    with pytest.raises(SystemExit, match="module=paired trains on pairs and the data set has none"):
        train("--config-dir", str(options), "data=independent", "augment.size=32", "name=other")
    assert not (run.parent / "other").exists()


@pytest.mark.slow
def test_unpaired_images_train_without_any_reference(options: Path, train: Callable[..., Path]) -> None:
    run = train(
        "--config-dir", str(options), "data=independent", "augment.size=32", "module=cycle", "loss=cycle+tv",
        "metric=sharpness", "callbacks.checkpoints.monitor=null",
    )  # fmt: skip
    results = json.loads((run / "results.json").read_text())
    assert results["sets"]["test"].keys() >= {"sharpness"}
    assert torch.isfinite(torch.tensor(results["sets"]["test"]["sharpness"]))
