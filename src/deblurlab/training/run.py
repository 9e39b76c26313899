"""From a config to a trained, tested and reported run."""

import copy
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from hydra.utils import instantiate
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf, open_dict
from pytorch_lightning.callbacks import Callback, Timer

from deblurlab.callbacks import Checkpoints, FitLoop, ImageMetrics, ResumeState, Rollback
from deblurlab.callbacks.metrics import set_name
from deblurlab.checkpoints.io import AtomicCheckpointIO, DamagedError, newest, training_state
from deblurlab.checkpoints.load import load_generator
from deblurlab.dataloading import Augmentation, DataModule
from deblurlab.discriminators import Discriminator
from deblurlab.errors import UserError
from deblurlab.loggers.csv import MetricsCSV
from deblurlab.losses import DiscriminatorLoss, LossTerm
from deblurlab.metrics import METRICS, Protocol
from deblurlab.models.cost import macs, parameters
from deblurlab.reporting import write_report
from deblurlab.runs import environment
from deblurlab.runs.files import write_csv, write_json
from deblurlab.runs.folder import Run
from deblurlab.training import Restoration

Results = dict[str, Any]
_LOG = logging.getLogger(__name__)

_OURS = {"gradient_clip_val": "module.gradient_clip", "accumulate_grad_batches": "module.accumulate"}
"""Options of the trainer that Lightning leaves to modules with several optimizers."""
_PARTNERS = {"reblurrer": "model", "blurred_discriminator": "discriminator"}
"""Networks that a module may have beside its generator and discriminator, and the group they are of unless chosen."""


def train(cfg: DictConfig, *, overrides: Sequence[str] = (), options: Mapping[str, str] | None = None) -> Results:
    """Train, test and report the run that a config describes: from the start, from where it stopped, or, if it has
    finished, not at all.

    Args:
        cfg: What conf/train.yaml composes to. Settings that are decided on the way are written into it.
        overrides: The command line's, to be noted in the run's folder.
        options: The chosen option of each config group, to be noted in the results.

    Returns:
        What `results.json` holds.

    Raises:
        UserError: Whatever the user can mend.
    """
    run, leader = Run(Path(cfg.run)), getattr(rank_zero_only, "rank", 0) == 0
    _check_paths(cfg, run)
    module, decided = build(cfg)
    protocol: Protocol = instantiate(cfg.protocol, _convert_="all")
    quality, timer, resume_state = ImageMetrics(protocol), Timer(duration=cfg.trainer.get("max_time")), ResumeState()
    trainer, loader = _trainer(cfg, [resume_state, quality, timer])
    trainer.fit_loop = FitLoop(trainer, resume_state)
    module.check_data(loader.data)
    fresh = _starts_over(cfg)
    if leader and (fresh or run.results() is None):
        loader.data.prepare()  # what can't be read deletes and claims nothing
        quality.check_data(loader.data)
        _check_monitor(cfg, quality)
    if fresh and leader:
        run.clear()
    if leader:
        run.claim(module.record, overrides)
    finished = None if fresh else run.results()  # another process may come by before the leader has cleared
    if finished is not None:
        if leader and not run.report_file.exists():  # it was killed in between
            write_report(run)
        return finished
    if leader:
        write_json(run.environment_file, environment.describe())

    for logger in trainer.loggers:
        logger.log_hyperparams({**module.record, "options": dict(options or {})})
    _fit(cfg, run, trainer, module, loader, fresh=fresh)
    trainer.save_checkpoint(run.last_checkpoint)
    load_generator(module.generator, run.folder)
    trainer.test(module, loader, verbose=False)

    results = {
        "name": run.folder.name,
        "options": dict(options or {}),
        "decided": decided,
        "seed": cfg.seed,
        "steps": trainer.global_step,
        "unreadable": loader.substituted,
        "seconds": round(timer.time_elapsed("train"), 1),
        "validation": _validation(trainer),
        **_measured(module, loader, quality, trainer),
        **environment.revision(),
    }
    if leader:
        write_csv(run.per_image_file, _per_image(loader, quality))
        write_json(run.results_file, results)
        write_report(run)
        for logger in trainer.loggers:
            if hasattr(logger, "log_results"):
                logger.log_results(results)
    return results


def build(cfg: DictConfig) -> tuple[Restoration, dict[str, str]]:
    """The module that a config describes, with random weights from its seed or those of `init`.

    Returns:
        The module, and what its loss terms decided by themselves, such as `{"vgg weights": "random"}`; the config is
        brought up to date with that.

    Raises:
        UserError: A setting doesn't fit, or weights can't be read.
    """
    for key, ours in _OURS.items():
        if cfg.trainer.get(key) is not None:
            raise UserError(f"trainer.{key} doesn't work with two players: use {ours}={cfg.trainer[key]}")
    pl.seed_everything(cfg.seed, verbose=False)
    terms, weights, decided = {}, {}, {}
    for name, node in cfg.loss.items():
        if not isinstance(node, DictConfig):
            raise UserError(f"loss.{name}={node} is no term: loss.{name}.weight={node} changes its weight")
    with open_dict(cfg):  # an experiment may hold settings for terms that aren't chosen
        cfg.loss = {name: node for name, node in cfg.loss.items() if "_target_" in node}
    for name, node in cfg.loss.items():
        arguments: Any = OmegaConf.to_container(node, resolve=True)
        weights[name] = weight = arguments.pop("weight", 1.0)
        if not isinstance(weight, (int, float)):
            raise UserError(f"loss.{name}.weight={weight} is no number")
        terms[name] = term = instantiate(arguments, _convert_="all")
        for key, value in term.resolved_settings().items() if isinstance(term, LossTerm) else ():
            node[key] = decided[f"{name} {key}"] = value
    generator = _another(cfg.model)
    if cfg.init is not None:
        load_generator(generator, Path(cfg.init))
    judged = any(isinstance(term, DiscriminatorLoss) for term in terms.values())
    make = instantiate(cfg.module, _convert_="all")
    players = {"generator": generator, "discriminator": _another(cfg.discriminator) if judged else None}
    for name, group in _PARTNERS.items():
        if name in make.keywords and make.keywords[name] is None:
            players[name] = _another(cfg[group]) if judged or group == "model" else None
    judges = {name: node for name, node in {**make.keywords, **players}.items() if isinstance(node, Discriminator)}
    _check_crop_size(cfg, {**judges, **terms})
    optimizer, scheduler = (instantiate(node, _convert_="all") for node in (cfg.optimizer, cfg.scheduler))
    try:
        module: Restoration = make(
            **players,
            terms=terms,
            weights=weights,
            optimizer=optimizer,
            scheduler=scheduler,
            interval=cfg.scheduler.interval,
            record=OmegaConf.to_container(cfg, resolve=True),
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    return module, decided


def _another(node: DictConfig) -> Any:
    return instantiate(node, _convert_="all")


def _check_crop_size(cfg: DictConfig, nodes: Mapping[str, Any]) -> None:
    size = min([cfg.augment.size, *(stage.size for stage in cfg.loader.schedule)])
    for name, node in nodes.items():
        if size < (needed := getattr(node, "min_size", 1)):
            raise UserError(f"augment.size={size} is too small for {name}, which needs at least {needed} pixels")


def _check_monitor(cfg: DictConfig, quality: ImageMetrics) -> None:
    monitor = (cfg.callbacks.get("checkpoints") or {}).get("monitor")
    metrics = quality.protocol.metrics
    if monitor is not None and (name := monitor.removeprefix("val/")) in METRICS and name not in metrics:
        raise UserError(
            f"callbacks.checkpoints.monitor={monitor} won't be measured, but {', '.join(metrics)}: choose another, or "
            f"null, and the last state counts"
        )


def _check_paths(cfg: DictConfig, run: Run) -> None:
    """See that this run is one among others and doesn't delete what it starts from."""
    if cfg.name is not None and Path(str(cfg.name)).name in ("", ".."):
        raise UserError(f"name={cfg.name!r} names no folder below runs={cfg.runs}")
    for key in ("init", "ckpt") if cfg.fresh else ():
        if cfg[key] is not None and Path(cfg[key]).resolve().is_relative_to(run.folder.resolve()):
            raise UserError(
                f"{key}={cfg[key]} lies in {run.folder}, which fresh=true would delete: choose another name="
            )


def _trainer(cfg: DictConfig, measuring: list[Callback]) -> tuple[pl.Trainer, DataModule]:
    """The trainer with its callbacks and loggers, and what feeds it."""
    loggers = [instantiate(node, _convert_="all") for node in (cfg.get("logger") or {}).values()]
    callbacks = [*measuring, *(instantiate(node, _convert_="all") for node in cfg.callbacks.values())]
    data = instantiate(cfg.data, _convert_="all")

    def augmentations(size: int) -> Augmentation:
        sized = copy.deepcopy(cfg)
        sized.augment.size = size
        return instantiate(sized.augment, _convert_="all")

    plugins: list[Any] = [AtomicCheckpointIO()]
    if SLURMEnvironment.detect():
        # callbacks.preemption queues again, between two steps; Lightning's own way may be within one.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    try:
        loader = instantiate(cfg.loader, _convert_="all")(data=data, augmentations=augmentations, size=cfg.augment.size)
        trainer = instantiate(cfg.trainer, _convert_="all")(callbacks=callbacks, logger=loggers, plugins=plugins)
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise UserError(f"trainer and loader can't be made as asked: {error}") from error
    return trainer, loader


def _starts_over(cfg: DictConfig) -> bool:
    """Whether to delete what the run has written: not again when a cluster repeats the command."""
    repeated = (os.environ.get(name, "0") for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"))
    return bool(cfg.fresh) and not any(int(count) for count in repeated)


def _fit(
    cfg: DictConfig, run: Run, trainer: pl.Trainer, module: Restoration, loader: DataModule, *, fresh: bool
) -> None:
    """Train to the end, however often it has to go back."""
    while True:
        try:
            trainer.fit(module, loader, ckpt_path=_start(cfg, run, trainer, fresh=fresh), weights_only=True)
            return
        except Rollback as rollback:
            _LOG.warning("%s.", rollback)
            fresh = False


def _start(cfg: DictConfig, run: Run, trainer: pl.Trainer, *, fresh: bool) -> Path | None:
    """The checkpoint to go on from, if there is one; the local record forgets what will be done again."""
    own = None if fresh else newest(run)
    checkpoint, content = own or _other(cfg.ckpt)
    step = content.get("global_step", 0)
    if not own and checkpoint and trainer.max_steps is not None and 0 <= trainer.max_steps <= step:
        raise UserError(f"{checkpoint} stands at step {step} and trainer.max_steps={trainer.max_steps}: raise it")
    validated = not content.get("callbacks", {}).get("ResumeState", {}).get("due", False)
    for logger in trainer.loggers:
        if isinstance(logger, MetricsCSV):
            logger.rewind(step, validated=validated)
    return checkpoint


def _other(ckpt: str | None) -> tuple[Path | None, dict[str, Any]]:
    """The checkpoint of another run that this one goes on from, and its content."""
    if ckpt is None:
        return None, {}
    try:
        return Path(ckpt), training_state(Path(ckpt))
    except DamagedError as error:
        raise UserError(f"{error}; init={ckpt} takes a generator's weights alone") from None


def _validation(trainer: pl.Trainer) -> dict[str, float]:
    """Scores of the state that is kept: the best, or where none is told from others the last."""
    keep = (Checkpoints, ResumeState)
    kept = sorted((c for c in trainer.callbacks if isinstance(c, keep)), key=lambda c: isinstance(c, ResumeState))  # type: ignore[attr-defined]
    return next((c.scores for c in kept if c.scores), {})


def _measured(module: Restoration, loader: DataModule, quality: ImageMetrics, trainer: pl.Trainer) -> dict[str, Any]:
    """What the model costs, its mean scores on every test set, and what was measured of sets as wholes."""
    sets = {}
    for i, (name, scores) in enumerate(zip(loader.test_sets(), quality.scores, strict=True)):
        keys = {key: f"{set_name('test', i)}/{key}" for key in ("kid", "kid_blurred")}
        wholes = {key: float(trainer.callback_metrics[k]) for key, k in keys.items() if k in trainer.callback_metrics}
        sets[name] = _means(scores) | wholes
    return {
        "parameters": parameters(module.generator),
        "macs_256": macs(module.generator),
        "protocol": quality.protocol.describe(),
        "unavailable": quality.protocol.unavailable,
        "sets": sets,
    }


def _means(scores: dict[str, list[float]]) -> dict[str, Any]:
    images = max((len(values) for values in scores.values()), default=0)
    return {"images": images, **{name: float(np.mean(values)) for name, values in scores.items()}}


def _per_image(loader: DataModule, quality: ImageMetrics) -> list[dict[str, Any]]:
    rows = []
    for (name, pairs), scores in zip(loader.test_sets().items(), quality.scores, strict=True):
        for pair, *values in zip(pairs, *scores.values(), strict=False):  # trainer.limit_test_batches may end it early
            rows.append({"set": name, "image": pair.name, **dict(zip(scores, values, strict=True))})
    return rows
