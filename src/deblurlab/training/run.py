"""A training run: from a config to a trained, tested and reported run folder."""

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Timer

from deblurlab._compat import use_resuming_fit_loop
from deblurlab.callbacks import Checkpoints, ImageMetrics, ResumeState, Rollback
from deblurlab.checkpoints.io import DamagedError, newest_checkpoint, read_training_state
from deblurlab.checkpoints.load import load_generator
from deblurlab.config.sums import parse_sum
from deblurlab.dataloading import DataModule
from deblurlab.errors import UserError
from deblurlab.loggers.csv import MetricsCSV
from deblurlab.metrics import Measurement
from deblurlab.models.cost import count_macs, count_parameters
from deblurlab.reporting import write_report
from deblurlab.runs import environment
from deblurlab.runs.files import write_csv, write_json
from deblurlab.runs.folder import Run, check_fresh, check_name
from deblurlab.runs.untrusted import parse_json
from deblurlab.training.build import build, build_trainer, check_monitor, resolved_settings
from deblurlab.training.module import Restoration

Results = dict[str, Any]
_LOG = logging.getLogger(__name__)


def train(cfg: DictConfig, *, overrides: Sequence[str] = (), options: Mapping[str, str] | None = None) -> Results:
    """Train, test and report a run: from the start, from its latest checkpoint, or, if it has finished, not at all.

    Args:
        cfg: Config that conf/train.yaml composes to. Settings that loss terms resolve are written into it.
        overrides: Overrides of the command line, stored in the run folder.
        options: Chosen option of each config group, stored in the results.

    Returns:
        Content of `results.json`.

    Raises:
        UserError: A setting, file or folder that the user can fix is wrong.
    """
    run, is_leader = Run(Path(cfg.run)), getattr(rank_zero_only, "rank", 0) == 0
    _check_paths(cfg, run)
    _check_factors(cfg, options or {})
    module = build(cfg)
    image_metrics, resume_state = ImageMetrics(Measurement.of(cfg)), ResumeState()
    timer = Timer(cfg.trainer.get("max_time"))
    trainer, loader = build_trainer(cfg, [resume_state, image_metrics, timer])
    use_resuming_fit_loop(trainer, lambda: resume_state.due)
    fresh = _starts_over(cfg)
    with run.lock() if is_leader else nullcontext():
        if is_leader:
            if fresh or run.results() is None:  # before anything is deleted or claimed: the data may be unreadable
                _check_data(cfg, module, loader, image_metrics)
            if fresh:
                run.clear()
            run.claim(module.record, overrides)
        finished = None if fresh else run.results()  # another process may arrive before the leader has cleared
        if finished is not None:
            if is_leader:
                _report_finished(run, cfg, finished)
            return finished
        sources = _record_environment(run, module.record) if is_leader else {}
        for logger in trainer.loggers:
            logger.log_hyperparams({**module.record, "options": dict(options or {})})
        _fit(cfg, run, trainer, module, loader, fresh=fresh)
        trainer.save_checkpoint(run.last_checkpoint)
        load_generator(module.generator, run.folder)
        trainer.test(module, loader, verbose=False)
        results = {
            "name": run.folder.name,
            "options": dict(options or {}),
            "decided": resolved_settings(module),  # the key of older results and releases
            "seed": cfg.seed,
            "steps": trainer.global_step,
            "unreadable": loader.substituted,
            "seconds": round(timer.time_elapsed("train"), 1),
            "finished": datetime.now().astimezone().isoformat(" ", "seconds"),
            "validation": _validation_scores(trainer),
            **_test_results(module, loader, image_metrics),
            **environment.revision(),
            **sources,
        }
        if is_leader:
            _write_results(run, trainer, results, _per_image_rows(loader, image_metrics))
    return results


def _check_data(cfg: DictConfig, module: Restoration, loader: DataModule, image_metrics: ImageMetrics) -> None:
    """Prepare the data; raise UserError if they don't fit the module, the metrics or the choice of checkpoints."""
    loader.data.prepare()
    module.check_data(loader.data)
    image_metrics.check_data(loader.data)
    check_monitor(cfg, image_metrics)


def _record_environment(run: Run, record: Mapping[str, Any]) -> Results:
    """Write environment.json; return the revisions of code from outside, and of earlier code, with a warning."""
    sources, earlier = environment.source_revisions(record), []
    if run.environment_file.exists() and run.last_checkpoint.exists():
        try:
            before: dict[str, Any] = parse_json(run.environment_file.read_text())
        except ValueError as error:
            raise UserError(f"{run.environment_file} is damaged ({error}): delete it to resume without it") from error
        earlier = [*before.get("earlier_sources", [])]
        then = before.get("sources", sources)
        if changed := [name for name in {**then, **sources} if then.get(name) != sources.get(name)]:
            _LOG.warning("The code of %s has changed since %s was interrupted.", ", ".join(changed), run.folder)
            earlier.append(then)
    revisions = {"sources": sources, **({"earlier_sources": earlier} if earlier else {})}
    write_json(run.environment_file, {**environment.describe(), **revisions})
    return revisions


def _report_finished(run: Run, cfg: DictConfig, results: Results) -> None:
    """Say that the run finished earlier and whether its code has changed since; write its report if it lacks one."""
    when = results.get("finished", "earlier")
    then, now = results.get("sources", {}), environment.source_revisions(OmegaConf.to_container(cfg, resolve=True))
    changed = [name for name in now if now[name] != then.get(name)]
    code = f"; the code of {', '.join(changed)} has changed since" if changed else ""
    _LOG.info("%s finished %s%s; these are its results. fresh=true trains anew.", run.folder, when, code)
    if not run.report_file.exists():  # the run was killed before it was written
        write_report(run)


def _check_factors(cfg: DictConfig, options: Mapping[str, str]) -> None:
    """Raise UserError if a term of `loss=l1+0.1*vgg` isn't the name of a node: its factor would have no effect."""
    terms = [name for name, node in cfg.loss.items() if isinstance(node, DictConfig) and "_target_" in node]
    for name, factor in parse_sum(str(options.get("loss", ""))) or []:
        if factor is not None and name not in terms:
            raise UserError(
                f"loss={options['loss']}: the option's file {name}.yaml must contain the key {name}, so that the "
                f"factor applies to it; the terms are {', '.join(map(str, terms))}"
            )


def _write_results(run: Run, trainer: pl.Trainer, results: Results, rows: list[dict[str, Any]]) -> None:
    write_csv(run.per_image_file, rows)
    write_json(run.results_file, results)
    write_report(run)
    for logger in trainer.loggers:
        if hasattr(logger, "log_results"):
            logger.log_results(results)


def _check_paths(cfg: DictConfig, run: Run) -> None:
    """Raise UserError if the name isn't a folder's, or `fresh=true` would delete what the run starts from."""
    check_fresh(cfg.fresh)
    check_name(cfg.name, cfg.runs)
    for key in ("init", "ckpt") if cfg.fresh else ():
        if cfg[key] is not None and Path(cfg[key]).resolve().is_relative_to(run.folder.resolve()):
            raise UserError(
                f"{key}={cfg[key]} is inside {run.folder}, which fresh=true would delete: choose another name="
            )


def _starts_over(cfg: DictConfig) -> bool:
    """Return whether to delete an earlier run: `fresh=true`, unless a cluster has requeued the command."""
    counts = (os.environ.get(name, "0") for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"))
    return bool(cfg.fresh) and not any(int(count) for count in counts)


def _fit(
    cfg: DictConfig, run: Run, trainer: pl.Trainer, module: Restoration, loader: DataModule, *, fresh: bool
) -> None:
    """Train to the end, with as many rollbacks as callbacks.nonfinite allows."""
    while True:
        try:
            checkpoint = _starting_checkpoint(cfg, run, trainer, fresh=fresh)
            trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
            return
        except Rollback as rollback:
            _LOG.warning("%s.", rollback)
            fresh = False


def _starting_checkpoint(cfg: DictConfig, run: Run, trainer: pl.Trainer, *, fresh: bool) -> Path | None:
    """Return the checkpoint to resume from, if any, and remove later rows from metrics.csv."""
    own = None if fresh else newest_checkpoint(run)
    checkpoint, content = own or _other_checkpoint(cfg.ckpt)
    step = content.get("global_step", 0)
    if not own and checkpoint and trainer.max_steps is not None and 0 <= trainer.max_steps <= step:
        raise UserError(f"{checkpoint} is at step {step} and trainer.max_steps={trainer.max_steps}: raise it")
    if checkpoint is not None:
        _LOG.info("Resuming %s from %s at step %d.", run.folder, checkpoint, step)
    validated = not content.get("callbacks", {}).get("ResumeState", {}).get("due", False)
    logged = dict(content.get("logged", {})) if own else {}
    of_this_step = logged.pop("step", None) == step
    for logger in trainer.loggers:
        if isinstance(logger, MetricsCSV):
            logger.rewind(step, validated=validated, logged=logged if of_this_step else None)
    return checkpoint


def _other_checkpoint(ckpt: str | None) -> tuple[Path | None, dict[str, Any]]:
    """Return the checkpoint that `ckpt` names, itself or by its run, and its content."""
    if ckpt is None:
        return None, {}
    path = Run(Path(ckpt)).last_checkpoint if Path(ckpt).is_dir() else Path(ckpt)
    try:
        return path, read_training_state(path)
    except DamagedError as error:
        raise UserError(f"{error}; init={ckpt} loads a generator's weights only") from None


def _validation_scores(trainer: pl.Trainer) -> dict[str, float]:
    """Return the validation metrics of the best checkpoint, or of the last one if none is monitored."""
    for kind in (Checkpoints, ResumeState):
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, kind) and callback.scores:
                return callback.scores
    return {}


def _test_results(module: Restoration, loader: DataModule, image_metrics: ImageMetrics) -> dict[str, Any]:
    """Return the model's cost, the protocol, and the mean metrics of every test set."""
    sets = {}
    measured = zip(loader.test_sets().items(), image_metrics.scores, image_metrics.set_scores, strict=True)
    for (name, pairs), scores, whole in measured:
        images = max((len(values) for values in scores.values()), default=len(pairs))
        sets[name] = {"images": images, **{key: float(np.mean(values)) for key, values in scores.items()}, **whole}
    return {
        "parameters": count_parameters(module.generator),
        "macs_256": count_macs(module.generator),
        **image_metrics.measurement.describe(),
        "sets": sets,
    }


def _per_image_rows(loader: DataModule, image_metrics: ImageMetrics) -> list[dict[str, Any]]:
    rows = []
    for (name, pairs), scores in zip(loader.test_sets().items(), image_metrics.scores, strict=True):
        for pair, *values in zip(pairs, *scores.values(), strict=False):  # trainer.limit_test_batches may be set
            rows.append({"set": name, "image": pair.name, **dict(zip(scores, values, strict=True))})
    return rows
