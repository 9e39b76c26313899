"""Private names (leading underscore) and undocumented behaviour of other libraries, one function each, with the reason.

Nothing else in the package uses them, except the protected attribute `_experiment` of Lightning's WandbLogger in
`deblurlab.loggers.wandb`, a subclass. `tests/test_compat.py` has a test for each function that fails when the
library offers a public replacement or changes the private API. Libraries are imported when a function is called.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Action, ArgumentParser
    from multiprocessing.process import BaseProcess

    import pytorch_lightning as pl
    import pyvips
    from starlette.applications import Starlette


def foreach(operation: str) -> Callable[..., Any]:
    """Return a multi-tensor operation of torch, such as "mul_" or "lerp_", which takes lists of tensors.

    torch's optimizers use these operations; public names are proposed as `torch.foreach` (pytorch/pytorch#193607).
    """
    import torch

    return getattr(torch, f"_foreach_{operation}")


def cpu_has_bf16() -> bool:
    """Return whether the processor has the bfloat16 instructions of AVX-512, as all that have AMX do.

    `torch.cpu.get_capabilities` tells it publicly, but isn't in all supported versions of torch.
    """
    import torch

    return torch.cpu._is_avx512_bf16_supported()


def worker_processes(iterator: object) -> list[BaseProcess]:
    """Return the worker processes of a DataLoader's iterator; empty without workers.

    A worker that hangs can only be killed, and the iterator doesn't expose its processes.
    """
    return list(getattr(iterator, "_workers", ()))


def validation_due(trainer: pl.Trainer) -> bool:
    """Return whether Lightning runs a validation after the batch that has just ended.

    The condition depends on six Trainer options and is only in the training epoch loop.
    """
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher) and bool(trainer.num_val_batches)


def values_to_log(trainer: pl.Trainer) -> dict[str, float]:
    """Return what Lightning writes to the loggers at the end of this batch or epoch."""
    return {name: float(value) for name, value in trainer._logger_connector.metrics["log"].items()}


def write_logged_values(trainer: pl.Trainer) -> None:
    """Write this step's values to the loggers now, as Lightning does at the end of a batch: no batch end follows."""
    trainer._logger_connector.update_train_step_metrics()


def use_resuming_fit_loop(trainer: pl.Trainer, due: Callable[[], bool]) -> None:
    """Give a trainer a fit loop that first runs the validation during which a training was killed.

    On resume, Lightning skips that validation or runs a part of it (Lightning-AI/pytorch-lightning#19549, #20277), and
    does nothing if the last step was done. `trainer.validate` before `fit` can't replace this: it runs at step
    0, before loop and callback states are restored, so that the row of metrics.csv and best.ckpt would be wrong; and
    `fit` calls no hook if all steps are done.

    Args:
        trainer: Trainer whose fit loop is replaced.
        due: Return whether a validation is pending, once the checkpoint has been loaded.
    """
    from pytorch_lightning.loops.fit_loop import _FitLoop

    class ResumingFitLoop(_FitLoop):
        @property
        def skip(self) -> bool:
            return super().skip and not due()

        def on_run_start(self) -> None:
            super().on_run_start()
            if due():
                self.trainer.validating = True
                self.epoch_loop.val_loop.restarting = False
                self.epoch_loop.val_loop.run()
                self.trainer.training = True

    plain = trainer.fit_loop
    trainer.fit_loop = ResumingFitLoop(trainer, plain.min_epochs, plain.max_epochs)
    trainer.fit_loop.epoch_loop = plain.epoch_loop


def set_wandb_run_id(logger: object, run_id: str) -> None:
    """Set the run id of Lightning's WandbLogger before its run starts.

    The constructor takes the id as well, but creating the id file is left to the process that starts the run.
    """
    logger._wandb_init["id"] = run_id  # type: ignore[attr-defined]


def wandb_workspace_json(page: Any) -> str:
    """Return a W&B workspace or report as JSON, without an account; `save()` is the only public way to serialise it."""
    return page._to_model().model_dump_json(by_alias=True)


@contextmanager
def separate_hydra_state() -> Iterator[None]:
    """Run a block with an empty Hydra state and restore the caller's state afterwards.

    Hydra keeps its state and version base in singletons; `hydra.compose` has no other way to be reentrant
    (hydra-ecosystem/hydra#3364).
    """
    import hydra.version
    from hydra.core.global_hydra import GlobalHydra

    caller, base = GlobalHydra.instance().hydra, hydra.version.VersionBase.instance()
    version = base.version_base
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = caller
        base.version_base = version


def hydra_version_base() -> dict[str, str]:
    """Return the argument `version_base` of Hydra's entry points; empty from 1.4 on, where it is deprecated."""
    return {} if _has_execution_whitelist() else {"version_base": "1.3"}


def hydra_execution_whitelist(targets: list[str]) -> dict[str, Any]:
    """Return the argument of `hydra.utils.instantiate` that allows only these targets.

    Args:
        targets: Dotted names of classes and functions; a trailing `.*` allows a package.

    Returns:
        Empty before Hydra 1.4, which has a list of refused targets only.
    """
    return {"_execution_whitelist_": targets} if _has_execution_whitelist() else {}


def hydra_location_failure(error: Exception) -> tuple[str, BaseException] | None:
    """Return the target that Hydra couldn't import and the original exception, or None for another error.

    Hydra's InstantiationException has the target in its message only. It wraps the exception in an ImportError.
    """
    found = re.match(r"Error locating target '(.*?)'", str(error))
    cause = error.__cause__
    if found is None or cause is None:
        return None
    return found[1], cause.__cause__ if cause.__cause__ and str(cause).startswith("Error loading") else cause


def register_resolver(name: str, function: Callable[..., Any]) -> None:
    """Register an OmegaConf resolver, or replace the one of this name.

    omegaconf 2.4 renames `register_new_resolver` to `register_resolver`, which earlier versions use for an older API.
    """
    from omegaconf import OmegaConf

    renamed = "replace" in inspect.signature(OmegaConf.register_resolver).parameters
    register: Callable[..., None] = OmegaConf.register_resolver if renamed else OmegaConf.register_new_resolver
    register(name, function, replace=True)


def _has_execution_whitelist() -> bool:
    import hydra.utils

    return hasattr(hydra.utils, "execution_whitelist")


def hydra_group_options(group: str) -> list[str]:
    """Return the options of a config group on the search path of the composition that is running.

    A ConfigSource isn't given the search path; Hydra's own `--help` gets it in the same way.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.object_type import ObjectType

    return GlobalHydra.instance().config_loader().get_group_options(group, ObjectType.CONFIG)


def hydra_groups() -> list[str]:
    """Return the config groups at the top of the search path of the composition that is running."""
    from hydra.core.global_hydra import GlobalHydra

    return GlobalHydra.instance().config_loader().list_groups("")


def vips_loader(source: pyvips.Source) -> str:
    """Return the format that libvips detects from the first bytes, such as "svg"; empty if it detects none.

    pyvips wraps the detection for paths, not for sources (libvips/pyvips#342).
    """
    import pyvips

    found = pyvips.vips_lib.vips_foreign_find_load_source(source.pointer)
    if found == pyvips.ffi.NULL:
        return ""
    loader: str = pyvips.nickname_find(pyvips.type_from_name(pyvips.ffi.string(found).decode()))
    return loader.partition("load")[0]


def parser_actions(parser: ArgumentParser) -> list[Action]:
    """Return the arguments of a parser, which argparse doesn't expose."""
    return parser._actions


def gradio_app(mounted: Any) -> Starlette:
    """Return the app of a Gradio page within the app that `mount_gradio_app` returns, to add exception handlers.

    Gradio appends its app as the last route and returns the outer app only.
    """
    return mounted.routes[-1].app


def pass_upload_path(image: Any) -> None:
    """Make a Gradio image component pass the path of an upload on, without decoding the file.

    With `type="filepath"` Gradio decodes and rewrites some formats; only the checked reader may decode uploads.
    """
    image.preprocess = lambda sent: sent and sent.path


def response_in_progress(protocol: Any) -> bool:
    """Return whether a uvicorn HTTP protocol is serving a request; uvicorn has no hook for a complete request head."""
    return protocol.cycle is not None and not protocol.cycle.response_complete


def crop_size_error() -> type[Exception]:
    """Return the exception that albumentations raises for a crop larger than the image; it isn't exported."""
    from albumentations.augmentations.crops.transforms import CropSizeError

    return CropSizeError
