"""Private APIs of other libraries: each works as the package expects, and no public replacement exists.

A test that fails after an upgrade means that the function in `deblurlab._compat` must be adapted or can be deleted.
"""

import argparse
import inspect
import io
import re
import warnings
from pathlib import Path

import hydra
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from PIL import Image
from pytorch_lightning.loggers.logger import DummyLogger

from deblurlab import _compat, config
from deblurlab.callbacks import ResumeState
from deblurlab.losses import L1
from steps import fit, module


def test_every_function_has_a_test() -> None:
    functions = [
        name
        for name, function in inspect.getmembers(_compat, inspect.isfunction)
        if function.__module__ == _compat.__name__ and not name.startswith("_")
    ]
    text = Path(__file__).read_text()
    assert functions
    assert [name for name in functions if f"_compat.{name}" not in text] == []


def test_no_other_file_uses_private_names_of_these_libraries() -> None:
    private = re.compile(
        r"torch\._(?!utils\b|dynamo)|_FitLoop|_should_check_val|_data_fetcher|_wandb_init|_to_model|vips_lib"
    )
    root = Path(_compat.__file__).parents[1]
    files = [file for file in root.rglob("*.py") if file.name != "_compat.py"]
    assert {file.relative_to(root).parts[0] for file in files} >= {"deblurlab", "hydra_plugins"}
    assert len(files) > 100
    assert [str(file) for file in files if private.search(file.read_text())] == []


def test_foreach_has_no_public_name() -> None:
    tensors = [torch.tensor([1.0, 2.0]), torch.tensor([3.0])]
    _compat.foreach("mul_")(tensors, 2)
    assert [tensor.tolist() for tensor in tensors] == [[2.0, 4.0], [6.0]]
    assert not hasattr(torch, "foreach")


def test_cpu_has_bf16_agrees_with_the_kernel() -> None:
    """Delete the function when the lowest supported torch has `torch.cpu.get_capabilities`."""
    if not (info := Path("/proc/cpuinfo")).exists():
        pytest.skip("only Linux lists the instructions of the processor")
    assert _compat.cpu_has_bf16() == bool(re.search(r"\bavx512_bf16\b", info.read_text()))


def test_a_dataloader_does_not_expose_its_workers() -> None:
    iterator = iter(torch.utils.data.DataLoader(range(4), num_workers=1))  # type: ignore[arg-type]
    (worker,) = _compat.worker_processes(iterator)
    assert worker.is_alive()
    assert not hasattr(iterator, "workers")
    assert _compat.worker_processes(iter(())) == []
    assert list(iterator)


def test_values_to_log_are_those_that_lightning_writes() -> None:
    found: list[dict[str, float]] = []
    written: list[dict[str, float]] = []

    class Record(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: object) -> None:
            pl_module.log("own", float(trainer.global_step))
            found.append(_compat.values_to_log(trainer))

    class Written(DummyLogger):
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:  # type: ignore[override]
            written.append({**metrics, "step": step})

    fit(module({"l1": L1()}), 2, Record(), logger=Written(), log_every_n_steps=1)
    assert found == written
    written.clear()

    class Early(Record):
        def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
            _compat.write_logged_values(trainer)

    fit(module({"l1": L1()}), 2, Early(), logger=Written(), log_every_n_steps=1)
    assert [values["step"] for values in written] == [1, 1, 2, 2]  # Lightning writes them again
    assert [(values["step"], values["own"]) for values in found] == [(1, 1), (2, 2)]


def test_validation_due_follows_val_check_interval() -> None:
    due: list[bool] = []

    class Record(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
            due.append(_compat.validation_due(trainer))

    from steps import Loader

    trained = module({"l1": L1()})
    trained.val_dataloader = lambda: Loader()  # type: ignore[method-assign]
    fit(trained, 6, Record(), val_check_interval=3, check_val_every_n_epoch=None, limit_val_batches=1)
    assert due == [False, False, True] * 2
    assert not hasattr(pl.Trainer, "should_check_val")


def test_lightning_skips_the_fit_after_the_last_step_and_the_resuming_loop_does_not() -> None:
    plain, resuming = pl.Trainer(max_steps=0, logger=False), pl.Trainer(max_steps=0, logger=False)
    state = ResumeState()
    _compat.use_resuming_fit_loop(resuming, lambda: state.due)
    assert plain.fit_loop.skip
    assert resuming.fit_loop.skip
    state.due = True
    assert not resuming.fit_loop.skip


def test_wandb_logger_takes_its_run_id_late(tmp_path: Path) -> None:
    from pytorch_lightning.loggers import WandbLogger

    logger = WandbLogger(save_dir=tmp_path, offline=True)
    _compat.set_wandb_run_id(logger, "abc")
    assert logger._wandb_init["id"] == "abc"


def test_a_workspace_has_no_public_serialisation() -> None:
    workspaces = pytest.importorskip("wandb_workspaces.workspaces")
    page = workspaces.Workspace(entity="me", project="deblurlab", name="board")
    assert '"board"' in _compat.wandb_workspace_json(page)
    assert not hasattr(page, "model_dump_json")


def test_compose_is_not_reentrant_in_hydra_itself() -> None:
    folder, base = str(config.CONF), _compat.hydra_version_base()
    with hydra.initialize_config_dir(folder, **base):
        with pytest.raises(ValueError, match="already initialized"):
            hydra.initialize_config_dir(folder, **base)
        with _compat.separate_hydra_state(), hydra.initialize_config_dir(folder, **base):
            assert "l1" in _compat.hydra_group_options("loss")
            assert {"loss", "model"} < {*_compat.hydra_groups()}
        assert "l1" in _compat.hydra_group_options("loss")


def test_arguments_depend_on_the_version_of_hydra() -> None:
    new = tuple(map(int, hydra.__version__.split(".")[:2])) >= (1, 4)
    assert _compat.hydra_version_base() == ({} if new else {"version_base": "1.3"})
    allowed = _compat.hydra_execution_whitelist(["fractions.Fraction"])
    assert hydra.utils.instantiate({"_target_": "fractions.Fraction", "numerator": 2}, **allowed) == 2
    if new:
        with pytest.raises(InstantiationException, match="whitelist"):
            hydra.utils.instantiate({"_target_": "decimal.Decimal", "value": 2}, **allowed)
    else:  # earlier versions pass the argument to the target
        with pytest.raises(InstantiationException, match="_execution_whitelist_"):
            hydra.utils.instantiate({"_target_": "fractions.Fraction"}, _execution_whitelist_=["fractions.Fraction"])


def test_hydra_names_a_target_that_cannot_be_imported_in_its_message_only() -> None:
    targets = {"no_such_module.Loss": ModuleNotFoundError, "fractions.Nope": ModuleNotFoundError,
               "fractions.Fraction.nope": AttributeError, "fractions.Fraction": None}  # fmt: skip
    for target, kind in targets.items():
        allowed = _compat.hydra_execution_whitelist([target])
        with pytest.raises((InstantiationException, ValueError)) as caught:
            hydra.utils.instantiate({"_target_": target, "numerator": "x"}, **allowed)
        assert not hasattr(caught.value, "target")
        found = _compat.hydra_location_failure(caught.value)
        assert (found is None) == (kind is None)
        if found is not None:
            assert (found[0], type(found[1])) == (target, kind)


def test_a_resolver_is_registered_and_replaced_without_a_deprecated_name() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for factor in (2, 3):
            _compat.register_resolver("times_for_test", lambda x, factor=factor: factor * x)
            assert OmegaConf.create({"x": "${times_for_test:7}"}).x == factor * 7


def test_pyvips_does_not_detect_the_format_of_a_source() -> None:
    import pyvips

    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(file, "PNG")
    assert _compat.vips_loader(pyvips.Source.new_from_memory(file.getvalue())) == "png"
    assert _compat.vips_loader(pyvips.Source.new_from_memory(b"nothing")) == ""
    assert not hasattr(pyvips.Source, "find_load")


def test_gradio_returns_the_outer_app_and_decodes_uploads() -> None:
    gradio = pytest.importorskip("gradio")
    fastapi = pytest.importorskip("fastapi")

    with gradio.Blocks() as page:
        image = gradio.Image(type="filepath")
    outer = gradio.mount_gradio_app(fastapi.FastAPI(), page, path="/")
    assert _compat.gradio_app(outer) is not outer
    assert hasattr(_compat.gradio_app(outer), "add_exception_handler")
    _compat.pass_upload_path(image)
    assert image.preprocess(None) is None
    assert image.preprocess(type("Upload", (), {"path": "a.png"})()) == "a.png"


def test_uvicorn_tells_of_a_request_by_its_cycle() -> None:
    h11 = pytest.importorskip("uvicorn.protocols.http.h11_impl")
    assert "self.cycle" in inspect.getsource(h11.H11Protocol)
    assert "response_complete" in inspect.getsource(h11.RequestResponseCycle)
    busy = type("Protocol", (), {"cycle": type("Cycle", (), {"response_complete": False})()})()
    assert _compat.response_in_progress(busy)
    busy.cycle.response_complete = True
    assert not _compat.response_in_progress(busy)


def test_albumentations_does_not_export_its_crop_error() -> None:
    import albumentations as A

    assert not hasattr(A, "CropSizeError")
    with pytest.raises(_compat.crop_size_error()):
        A.Compose([A.RandomCrop(8, 8)])(image=np.zeros((4, 4, 3), np.uint8))


def test_argparse_does_not_expose_the_arguments_of_a_parser() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    added = parser.add_argument("file")
    assert _compat.parser_actions(parser) == [added]
    assert not [name for name in dir(parser) if "action" in name and not name.startswith("_")]
