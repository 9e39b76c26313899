"""`python evaluate.py`: results of every kind of restorer, resuming, shards and errors."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from deblurlab.classical import line_psf, wiener
from deblurlab.cli.export import export as export_command
from deblurlab.cli.report import report
from deblurlab.media.images import read_image, write_png
from deblurlab.media.srgb import linear_to_srgb, srgb_to_linear
from deblurlab.restorers import Identity, Restored
from support import blurred

Evaluate = Callable[..., Path]


def _results(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text())


def _rows(run: Path) -> list[dict[str, str]]:
    with (run / "per_image.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_psnr_of_the_blurred_images_equals_scikit_image(evaluate: Evaluate, photographs: Path) -> None:
    run = evaluate()
    means = _results(run)["sets"]["photographs"]
    rows = _rows(run)
    assert means["images"] == len(rows) == 5
    for row in rows:
        name, number = row["image"].split("/")
        blurred, sharp = (read_image(photographs / name / k / f"{number}.png") for k in ("blur_gamma", "sharp"))
        assert float(row["psnr"]) == pytest.approx(peak_signal_noise_ratio(sharp, blurred), abs=1e-9)
        assert row["psnr"] == row["psnr_blurred"]
        assert 3 <= float(row["blur_length"]) <= 15
    assert means["psnr"] == pytest.approx(np.mean([float(row["psnr"]) for row in rows]), abs=1e-12)
    error = np.std([float(row["psnr"]) for row in rows], ddof=1) / np.sqrt(5)
    assert means["standard_error"]["psnr"] == pytest.approx(error)
    command = json.loads((run / "environment.json").read_text())["command"]
    assert f"<dt>command</dt><dd>{'python ' if command[0].endswith('.py') else ''}" in (run / "report.html").read_text()
    assert len(list((run / "samples").glob("*.png"))) == 3


def test_restored_images_are_saved_also_later(evaluate: Evaluate, photographs: Path) -> None:
    """PSNR is computed from the 8-bit images that the files hold."""
    arguments = ["restorer=wiener", "limit=2", "name=run"]
    run = evaluate(*arguments)
    times = [row["seconds"] for row in _rows(run)]
    assert not (run / "restored").exists()
    run = evaluate(*arguments, "save=true")
    rows = _rows(run)
    assert len(list((run / "restored").rglob("*.png"))) == len(rows) == 2
    for row in rows:
        name, number = row["image"].split("/")
        restored = read_image(run / "restored" / "photographs" / f"{row['image']}.png")
        sharp = read_image(photographs / name / "sharp" / f"{number}.png")
        assert float(row["psnr"]) == pytest.approx(peak_signal_noise_ratio(sharp, restored), abs=1e-9)
    assert [row["seconds"] for row in rows] != times  # restored again
    assert _rows(evaluate(*arguments, "save=true")) == rows


def test_a_classical_method_uses_the_true_psf_in_linear_light(evaluate: Evaluate, photographs: Path) -> None:
    run = evaluate("restorer=wiener", "restorer.method.k=0.02", "limit=1")
    row = _rows(run)[0]
    name = row["image"].split("/")
    folder = photographs / name[0]
    psf = np.array(json.loads((folder / "recipe" / f"{name[1]}.json").read_text())["psf"])
    blurred, sharp = (read_image(folder / kind / f"{name[1]}.png") for kind in ("blur_gamma", "sharp"))
    restored = linear_to_srgb(np.clip(wiener(srgb_to_linear(blurred / 255), psf, k=0.02), 0, 1))
    expected = peak_signal_noise_ratio(sharp, np.round(255 * restored).astype(np.uint8))
    assert float(row["psnr"]) == pytest.approx(expected, abs=1e-3)
    assert row["psf"] == "true at the centre"


def test_run_release_and_checkpoint_give_the_results_of_the_training(
    evaluate: Evaluate, train: Callable[..., Path], tmp_path: Path
) -> None:
    trained = train("trainer.limit_test_batches=5")
    expected = {row["image"]: float(row["psnr"]) for row in _rows(trained)}
    cli_export(trained, tmp_path / "released")
    measured = []
    for path in (trained, tmp_path / "released", trained / "checkpoints" / "best.ckpt"):
        run = evaluate("restorer=checkpoint", f"restorer.path={path}", "limit=2", "fresh=true")
        assert _results(run)["parameters"] == _results(trained)["parameters"]
        measured.append({row["image"]: float(row["psnr"]) for row in _rows(run)})
    assert len(measured[0]) == 2
    assert measured[0] == measured[1] == measured[2]
    assert measured[0] == pytest.approx({image: expected[image] for image in measured[0]}, abs=1e-4)


def cli_export(run: Path, output: Path) -> None:
    export_command([str(run), "-o", str(output)])


def _without_times(run: Path) -> tuple[Any, list[dict[str, str]]]:
    """Return the results without times, memory and name."""
    results = _results(run)
    for key in ("seconds_per_megapixel", "peak_memory_mib", "name", "finished"):
        del results[key]
    return results, [{k: v for k, v in row.items() if k != "seconds"} for row in _rows(run)]


@pytest.mark.slow
def test_shards_and_a_kill_give_the_same_results(evaluate: Evaluate, data_root: Path, tmp_path: Path) -> None:
    """Three processes, one of them killed and restarted, equal one process bit for bit."""
    whole = evaluate("restorer=richardson_lucy", "restorer.method.iterations=3", "name=whole").with_name("whole")
    command = [
        sys.executable, "-m", "deblurlab", "evaluate", "restorer=richardson_lucy", "restorer.method.iterations=3",
        "data=synthetic_small", f"data.root={data_root}", "name=shared",
    ]  # fmt: skip
    shared = whole.with_name("shared")
    slow = subprocess.Popen([*command, "shard=1/3"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    part = shared / "parts" / "1-of-3.jsonl"
    deadline = time.monotonic() + 120
    while not (part.is_file() and part.read_text().count("\n")) and slow.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    slow.send_signal(signal.SIGKILL)
    slow.wait()
    assert not (shared / "results.json").exists()
    with part.open("a") as file:
        file.write('{"set": "photographs", "image": "cut off')  # as after a kill while the line is written
    for shard in (2, 3, 1):
        subprocess.run([*command, f"shard={shard}/3"], cwd=tmp_path, check=True, capture_output=True)
        assert (shared / "results.json").exists() == (shard == 1)
    for shared_result, whole_result in zip(_without_times(shared), _without_times(whole), strict=True):
        assert json.dumps(shared_result, sort_keys=True) == json.dumps(whole_result, sort_keys=True)
    lines = [line for file in (shared / "parts").glob("*.jsonl") for line in file.read_text().splitlines()]
    done = [json.loads(line)["image"] for line in lines if line.endswith("}")]
    assert sorted(done) == sorted(set(done))  # no image was measured twice


def test_a_damaged_image_does_not_stop_the_evaluation(
    evaluate: Evaluate, gopro_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = gopro_copy / "test" / "d" / "blur" / "000001.png"
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(SystemExit) as end:
        evaluate("data=gopro", f"data.root={gopro_copy}", "name=run")
    assert end.value.code == 1
    run = Path("runs/evaluations/run")
    results = _results(run)
    assert results["sets"]["gopro"]["images"] == 1
    assert results["sets"]["gopro"]["failed"] == 1
    assert "000001.png is damaged" in results["failed"]["gopro/d/000001"]
    assert "gopro/d/000001 failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["restorer=wiener", "psf=none"], "needs a psf: choose psf=estimate, estimate_straight, oracle"),
        (["restorer=wiener", "psf=file", "psf.path=/nowhere.npy"], "psf.path=/nowhere.npy can't be read"),
        (["restorer=wiener", "psf=gaussian", "psf.sigma=0"], "psf.sigma=0 must be more than 0"),
        (["restorer=wiener", "psf=estimate", "psf.longest=4"], "psf.longest=4 must be between 5 and 60 pixels"),
        (["restorer=wiener", "psf=estimate", "psf.longest=abc"], "psf.longest=abc must be between 5 and 60 pixels"),
        (["restorer=wiener", "psf=estimate_straight", "psf.longest=61"], "psf.longest=61 must be between 4 and 60"),
        (["restorer=wiener", "restorer.light=dark"], "restorer.light=dark is unknown"),
        (["restorer=checkpoint", "restorer.path=/nowhere"], "there are no weights /nowhere"),
        (["shard=4/3"], "shard=4/3 is not a shard"),
        (["limit=0"], "limit=0 must be at least 1"),
        (["fresh=no"], "fresh=no must be true or false"),
        (["device=tpu9"], "device=tpu9 can't be used"),
        (["metric.psnr._target_=torch.nn.L1Loss", "+metric.psnr.higher_is_better=false"], "not a torchmetrics.Metric"),
    ],
)
def test_invalid_settings_are_reported(evaluate: Evaluate, overrides: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        evaluate(*overrides)
    assert not Path("runs/evaluations/run/results.json").exists()


def test_the_oracle_needs_synthetic_data(evaluate: Evaluate, gopro_tree: Path) -> None:
    with pytest.raises(SystemExit, match="no recipe with a true psf.*choose psf=estimate"):
        evaluate("restorer=wiener", "data=gopro", f"data.root={gopro_tree}", "name=run")


def _straight(root: Path) -> Path:
    """Write a photograph in GoPro's layout, once blurred by linear motion and once unblurred."""
    from skimage.data import astronaut

    sharp = astronaut()[:256, :256]
    linear = np.clip(blurred(srgb_to_linear(sharp / 255), line_psf(12, 30)), 0, 1)
    seen = np.round(255 * linear_to_srgb(linear)).astype(np.uint8)
    for place in ("train/a", "train/b", "test/c"):
        for kind, images in (("blur", (seen, sharp)), ("sharp", (sharp, sharp))):
            (root / place / kind).mkdir(parents=True)
            for i, image in enumerate(images):
                write_png(root / place / kind / f"{i}.png", image)
    return root


@pytest.mark.parametrize(
    ("psf", "description", "reason"),
    [
        ("estimate", r"estimated, \d+x\d+ px, correlation 0\.\d\d", "no uniform blur found"),
        ("estimate_straight", r"line of 1\d\.\d px at \d\d degrees", "no uniform linear motion found"),
    ],
)
def test_images_without_motion_are_returned_unchanged_and_counted(
    evaluate: Evaluate, tmp_path: Path, psf: str, description: str, reason: str
) -> None:
    root = _straight(tmp_path / "straight")
    run = evaluate("restorer=wiener", f"psf={psf}", "data=gopro", f"data.root={root}", "data.validation=1", "name=run")
    first, second = _rows(run)
    assert float(first["psnr"]) > float(first["psnr_blurred"]) + 1
    assert re.fullmatch(description, first["psf"])
    assert second["psnr"] == second["psnr_blurred"]
    assert reason in second["untouched"]
    assert _results(run)["sets"]["gopro"]["untouched"] == 1


def test_a_finished_run_is_reused_and_another_config_is_refused(evaluate: Evaluate) -> None:
    run = evaluate("limit=1")
    before = (run / "results.json").stat().st_mtime_ns
    evaluate("limit=1")
    assert (run / "results.json").stat().st_mtime_ns == before
    with pytest.raises(SystemExit, match="limit was 1 and is 2"):
        evaluate("limit=2")
    assert _results(evaluate("limit=2", "fresh=true"))["sets"]["photographs"]["images"] == 2


def test_untrusted_classes_are_refused(evaluate: Evaluate, tmp_path: Path) -> None:
    """A class that a checkpoint names isn't called unless it is trusted."""
    record = {"model": {"_target_": "os.system", "command": f"touch {tmp_path / 'owned'}"}}
    torch.save({"state_dict": {"generator.x": torch.zeros(1)}, "record": record}, tmp_path / "evil.ckpt")
    with pytest.raises(SystemExit, match="names os.system, which isn't a model of deblurlab"):
        evaluate("restorer=checkpoint", f"restorer.path={tmp_path / 'evil.ckpt'}")
    assert not (tmp_path / "owned").exists()


@pytest.mark.slow
def test_a_sweep_prints_one_table(data_root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deblurlab", "evaluate", "-m", "restorer=identity,wiener", "data=synthetic_small"]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        [*command, f"data.root={data_root}"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if "photographs" in line]
    assert len(lines) == 2
    assert "identity" in lines[0]
    assert "+0.00" in lines[0]
    assert "oracle" in lines[1]


def test_an_onnx_model_has_the_metrics_of_its_network(evaluate: Evaluate, tmp_path: Path, photographs: Path) -> None:
    onnx = pytest.importorskip("onnx")
    network = torch.nn.Conv2d(3, 3, 3, padding=1).eval()
    with torch.no_grad():
        network.weight.mul_(0.2)
        for c in range(3):
            network.weight[c, c, 1, 1] += 1.0
    arrays = [onnx.numpy_helper.from_array(p.detach().numpy(), name) for name, p in network.named_parameters()]
    node = onnx.helper.make_node("Conv", ["image", "weight", "bias"], ["restored"], pads=[1, 1, 1, 1])
    image, restored = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, "height", "width"])
        for name in ("image", "restored")
    )
    graph = onnx.helper.make_graph([node], "convolution", [image], [restored], arrays)
    file = str(tmp_path / "model.onnx")
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10), file)
    row = _rows(evaluate("restorer=onnx", f"restorer.path={file}", "limit=1"))[0]
    group, number = row["image"].split("/")
    folder = photographs / group
    blurred, sharp = (read_image(folder / kind / f"{number}.png") for kind in ("blur_gamma", "sharp"))
    with torch.no_grad():
        restored = network(torch.from_numpy(blurred).permute(2, 0, 1)[None] / 255)[0].clamp(0, 1)
    as_file = (restored * 255).round().byte().permute(1, 2, 0).numpy()
    assert float(row["psnr"]) == pytest.approx(peak_signal_noise_ratio(sharp, as_file), abs=0.01)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "there is no file"), (b"no model", "can't be read as an ONNX")]
)
def test_invalid_onnx_files_are_refused(
    evaluate: Evaluate, tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(SystemExit, match=message):
        evaluate("restorer=onnx", f"restorer.path={tmp_path / 'x.onnx'}")


@pytest.mark.parametrize(
    ("psf", "message"),
    [
        (np.ones((5, 5)), "sum to 1; got sum 25"),
        (np.full((3, 3), np.nan), "2-D array of finite numbers"),
        (np.ones(4) / 4, "matrix"),
    ],
)
def test_invalid_psf_files_are_refused(evaluate: Evaluate, tmp_path: Path, psf: np.ndarray, message: str) -> None:
    np.save(tmp_path / "psf.npy", psf)
    with pytest.raises(SystemExit, match=f"psf.path=.*psf.npy can't be read as a psf: .*{message}"):
        evaluate("restorer=wiener", "psf=file", f"psf.path={tmp_path / 'psf.npy'}")


def test_a_psf_may_be_an_image(evaluate: Evaluate, tmp_path: Path) -> None:
    """A white pixel on black is no blur: the Wiener filter with K = 0 returns the blurred image."""
    image = np.zeros((5, 5, 3), np.uint8)
    image[2, 2] = 255
    write_png(tmp_path / "psf.png", image)
    run = evaluate("restorer=wiener", "restorer.method.k=0", "psf=file", f"psf.path={tmp_path / 'psf.png'}", "limit=2")
    for row in _rows(run):
        assert float(row["psnr"]) == pytest.approx(float(row["psnr_blurred"]), abs=1e-6)
        assert row["psf"] == "psf.png"


def test_a_psf_larger_than_the_images_is_an_error_of_each_image(evaluate: Evaluate) -> None:
    with pytest.raises(SystemExit):
        evaluate("restorer=wiener", "psf=gaussian", "psf.sigma=100")
    failed = _results(Path("runs/evaluations/run"))["failed"]
    assert len(failed) == 5
    assert all("is larger than the image" in error for error in failed.values())


def test_nan_in_a_restored_image_is_an_error(evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, blurred: torch.Tensor, pair: object) -> Restored:
        return Restored(blurred * float("nan"))

    monkeypatch.setattr(Identity, "__call__", broken)
    with pytest.raises(SystemExit):
        evaluate("limit=2")
    results = _results(Path("runs/evaluations/run"))
    assert set(results["failed"].values()) == {"the restored image holds NaN or infinity"}
    assert results["sets"]["photographs"]["images"] == 0


def test_failed_images_are_tried_again(evaluate: Evaluate, gopro_copy: Path) -> None:
    bad = gopro_copy / "test" / "d" / "blur" / "000001.png"
    content = bad.read_bytes()
    bad.write_bytes(content[:60])
    with pytest.raises(SystemExit):
        evaluate("data=gopro", f"data.root={gopro_copy}", "name=run")
    bad.write_bytes(content)
    results = _results(evaluate("data=gopro", f"data.root={gopro_copy}", "name=run"))
    assert results["failed"] == {}
    assert results["sets"]["gopro"]["images"] == 2


def test_fresh_keeps_trainings_and_keeps_the_run_if_settings_are_invalid(evaluate: Evaluate, trained: Path) -> None:
    with pytest.raises(SystemExit, match="is a training: fresh=true won't delete it"):
        evaluate(f"runs={trained.parent}", "fresh=true")
    assert (trained / "results.json").is_file()
    run = evaluate("limit=1")
    with pytest.raises(SystemExit, match="needs a psf"):
        evaluate("limit=1", "restorer=wiener", "psf=none", "fresh=true")
    assert (run / "results.json").is_file()


def test_names_that_are_not_utf8_are_escaped(evaluate: Evaluate, tmp_path: Path) -> None:
    for side in ("blurred", "sharp"):
        (tmp_path / side).mkdir()
        write_png(tmp_path / side / os.fsdecode(b"caf\xe9.png"), np.full((16, 16, 3), 90, np.uint8))
    run = evaluate(
        "restorer=identity", "data=pairs", "save=true", "name=run",
        *(f"data.{split}{side}={tmp_path / side}" for split in ("", "test_") for side in ("blurred", "sharp")),
    )  # fmt: skip
    assert [row["image"] for row in _rows(run)] == [r"caf\xe9"]
    assert (run / "restored" / "pairs" / r"caf\xe9.png").exists()


def test_equal_images_have_infinite_psnr_and_no_gain(
    evaluate: Evaluate, gopro_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = gopro_copy / "test" / "d"
    for image in (folder / "blur").iterdir():
        image.write_bytes((folder / "sharp" / image.name).read_bytes())
    for _ in range(2):  # the second time from results.json
        run = evaluate("data=gopro", f"data.root={gopro_copy}", "name=run")
        output = capsys.readouterr().out
        assert "nan" not in output
        assert re.search(r"PSNR \(dB\).*\n.*\n.* inf ", output)
        assert "inf: an image equals its reference" in output
    assert _results(run)["sets"]["gopro"]["psnr"] == float("inf")
    assert _rows(run)[0]["psnr"] == "inf"


@pytest.mark.slow
def test_a_sweep_with_a_failed_job_prints_a_table(data_root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deblurlab", "evaluate", "-m", "restorer=wiener,identity", "psf=none", "limit=1"]
    done = subprocess.run(
        [*command, "data=synthetic_small", f"data.root={data_root}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "identity" in done.stdout
    assert "needs a psf" in done.stdout + done.stderr


def test_a_table_of_trainings_and_evaluations_has_a_row_for_each_test_set(
    finished_run: Path, evaluate: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The columns that only evaluations measure are empty for a training."""
    evaluation = evaluate("restorer=identity", "metric=psnr+ssim", "limit=1")
    capsys.readouterr()
    report(["table", str(finished_run), str(evaluation), "--format", "csv"])
    training, identity = csv.DictReader(capsys.readouterr().out.splitlines())
    results = json.loads((finished_run / "results.json").read_text())
    metrics = results["sets"]["photographs"]
    assert training["restorer"] == "run unet_res l1"
    assert (training["set"], training["s/MP"], training["notes"]) == ("photographs", "-", "")
    assert training["PSNR (dB)"] == f"{metrics['psnr']:.2f}"
    assert training["gain (dB)"] == f"{metrics['psnr'] - metrics['psnr_blurred']:+.2f}"
    assert training["parameters"].startswith(f"{results['parameters'] / 1e3:.2f}")
    assert (identity["restorer"], identity["gain (dB)"]) == ("identity", "+0.00")
    report(["table", str(finished_run)])
    assert "run unet_res l1" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="contains no finished evaluation or training"):
        report(["table", str(tmp_path)])
