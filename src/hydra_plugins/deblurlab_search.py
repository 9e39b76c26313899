"""Hydra sweeper `hydra/sweeper=search`: searches for the best settings with Optuna (https://optuna.org)."""

import logging
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from deblurlab.config.instantiation import allow_targets, targets_of_user
from deblurlab.config.resolvers import run_name
from deblurlab.errors import UserError

if TYPE_CHECKING:
    import optuna

_LOG = logging.getLogger("hydra.deblurlab")
_FAILED = "failed"
"""Attribute of trials whose job raised an error."""


class Search(Sweeper):
    """Sweeper that optimizes validation metrics with the tree-structured Parzen estimator (TPE).

    Several objectives give a Pareto front (Ozaki et al., "Multiobjective Tree-Structured Parzen Estimator", JAIR 2022).

    Every trial is an ordinary run. Trials are recorded in a journal: the same command resumes an interrupted search and
    starts with the trials that were running. Only one process at a time may search in a folder.

    Args:
        params: Search space in Hydra's sweep syntax: `tag(log, interval(0.001, 1))`, `interval(0, 1)`, `range(1, 5)`,
            `choice(a, b)` or `a,b`. The command line accepts the same syntax.
        objectives: Validation metrics, such as `["psnr", "lpips_alex"]`. The metric determines the direction.
        trials: Total number of trials.
        batch: Number of trials at a time, for a launcher that runs several jobs in parallel.
        journal: Path of the journal.
        seed: Seed of the sampler.
    """

    def __init__(
        self,
        *,
        params: Mapping[str, str],
        objectives: Sequence[str],
        trials: int,
        batch: int,
        journal: str,
        seed: int,
    ) -> None:
        self._params, self._objectives = dict(params), list(objectives)
        self._trials, self._batch, self._journal, self._seed = trials, batch, Path(journal), seed

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store the context and create the launcher."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until the journal holds `trials` finished or failed ones, then log the best.

        Raises:
            CompactHydraException: A setting is wrong, or all trials of this call failed.
        """
        self._check_settings()
        assert self.config is not None
        fixed, space = self._space(arguments)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        study = self._study(fixed, space)
        launched, failures = 0, 0
        while (left := self._trials - self._count_done(study)) > 0:
            trials = [study.ask(space) for _ in range(min(left, self._batch))]
            jobs = [(*fixed, *(f"{key}={_format(value)}" for key, value in t.params.items())) for t in trials]
            unique = list(dict.fromkeys(jobs))  # a small search space may give the same settings twice
            self.validate_batch_is_legal(unique)
            returned = self.launcher.launch(unique, initial_job_idx=trials[0].number)
            finished = dict(zip(unique, returned, strict=True))
            for trial, job in zip(trials, jobs, strict=True):
                try:
                    values = self._objective_values(finished[job].return_value)
                except Exception as error:  # any error of a job
                    failures += 1
                    trial.set_user_attr(_FAILED, str(error))
                    study.tell(trial, state=_state("FAIL"))
                    _LOG.error("trial %d failed: %s", trial.number, error)
                else:
                    study.tell(trial, values)
            launched += len(jobs)
            if failures == launched:
                raise CompactHydraException("deblurlab: all trials failed: the search ends")
        self._log_best(study)

    def _check_settings(self) -> None:
        from deblurlab.metrics import MetricInfo

        assert self.config is not None
        if find_spec("optuna") is None:
            raise CompactHydraException("deblurlab: hydra/sweeper=search needs: pip install 'deblurlab[search]'")
        if self._trials < 1 or self._batch < 1:
            raise CompactHydraException(
                f"deblurlab: hydra.sweeper.trials={self._trials} and batch={self._batch} must be at least 1"
            )
        metrics = [name for name, node in self.config.metric.items() if OmegaConf.is_dict(node) and "_target_" in node]
        if not self._objectives or not set(self._objectives) <= {*metrics}:
            raise CompactHydraException(
                f"deblurlab: hydra.sweeper.objectives={self._objectives}: the validation measures "
                f"metric={'+'.join(metrics)}"
            )
        allow_targets(targets_of_user(self.config.hydra))
        try:
            self._metrics = {name: MetricInfo.of(name, self.config.metric[name]) for name in self._objectives}
        except UserError as error:
            raise CompactHydraException(f"deblurlab: {error}") from error

    def _space(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, "optuna.distributions.BaseDistribution"]]:
        """Return the fixed overrides and the search space."""
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        defaults = [f"{key}={value}" for key, value in self._params.items()]
        parsed = parser.parse_overrides([*defaults, *arguments])
        chosen = {override.get_key_element(): override for override in parsed}
        fixed = [f"{key}={o.get_value_element_as_str()}" for key, o in chosen.items() if not o.is_sweep_override()]
        space = {}
        for key, override in chosen.items():
            if override.is_sweep_override():
                try:
                    space[key] = _distribution(override)
                except (ValueError, IndexError) as error:
                    raise CompactHydraException(f"deblurlab: {key} has no valid search space: {error}") from error
        if not space:
            raise CompactHydraException(
                "deblurlab: the search space is empty: add e.g. loss.vgg.weight=interval(0.01,1)"
            )
        return fixed, space

    def _study(self, fixed: Sequence[str], space: Mapping[str, Any]) -> "optuna.Study":
        """Return the study in the journal; `fresh=true` starts a new one.

        Raises:
            CompactHydraException: The journal is damaged or holds another search.
        """
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if "fresh=true" in [override.lower() for override in fixed]:
            self._journal.unlink(missing_ok=True)
        try:
            storage = JournalStorage(JournalFileBackend(str(self._journal)))
        except ValueError as error:
            raise CompactHydraException(f"deblurlab: {self._journal} is damaged ({error}): delete it") from error
        minimize, maximize = optuna.study.StudyDirection.MINIMIZE, optuna.study.StudyDirection.MAXIMIZE
        directions = [maximize if info.higher_is_better else minimize for info in self._metrics.values()]
        study = optuna.create_study(
            study_name=", ".join(self._objectives), storage=storage, load_if_exists=True, directions=directions
        )
        varied = {key: repr(distribution) for key, distribution in sorted(space.items())}
        settings = {"fixed": run_name(None, fixed), "varied": varied}
        if study.directions != directions:
            raise CompactHydraException(
                f"deblurlab: {self._journal} holds a search with other directions: choose another runs=<folder>, or "
                f"fresh=true"
            )
        if (before := study.user_attrs.get("settings", settings)) != settings:
            raise CompactHydraException(
                f"deblurlab: {self._journal} holds a search over other values: it was {before} and is {settings}; "
                f"choose another runs=<folder>, or fresh=true"
            )
        study.set_user_attr("settings", settings)
        # Each resume uses another seed; otherwise the sampler would repeat its proposals.
        study.sampler = optuna.samplers.TPESampler(seed=self._seed + len(study.trials), constant_liar=self._batch > 1)
        for trial in study.get_trials(states=[_state("RUNNING")]):
            study.tell(trial.number, state=_state("FAIL"))
            study.enqueue_trial(trial.params)
        return study

    def _count_done(self, study: "optuna.Study") -> int:
        """Return the number of finished and failed trials. Interrupted ones are repeated."""
        return sum(t.state == _state("COMPLETE") or _FAILED in t.user_attrs for t in study.trials)

    def _objective_values(self, results: Mapping[str, Any]) -> list[float]:
        metrics = results.get("validation") or {}
        if missing := [
            name for name in self._objectives if not isfinite(nan if metrics.get(name) is None else metrics[name])
        ]:
            raise CompactHydraException(
                f"the validation measured no {missing[0]} (metric=), but {', '.join(metrics) or 'nothing'}"
                + ("" if metrics else "; is trainer.val_check_interval longer than the training?")
            )
        return [float(metrics[name]) for name in self._objectives]

    def _log_best(self, study: "optuna.Study") -> None:
        """Log the Pareto front, the trials that no other trial improves on in all objectives."""
        _LOG.info("%d trials, the best of which are", self._count_done(study))
        best = {str(trial.params): trial for trial in reversed(study.best_trials)}  # equal settings once
        first_maximized = self._metrics[self._objectives[0]].higher_is_better
        for trial in sorted(best.values(), key=lambda t: t.values[0], reverse=first_maximized):
            values = "  ".join(
                f"{name} {info.format(value, digits=max(4, info.digits))}"
                for (name, info), value in zip(self._metrics.items(), trial.values, strict=True)
            )
            settings = " ".join(f"{key}={_format(value)}" for key, value in trial.params.items())
            _LOG.info("#%d : %s  %s", trial.number, values, settings)


def _distribution(override: Override) -> "optuna.distributions.BaseDistribution":
    """Return the Optuna distribution of a sweep override.

    Raises:
        CompactHydraException: The kind of sweep isn't supported.
        ValueError: The interval is empty.
        IndexError: The range is empty.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values, key = override.value(), override.get_key_element()
    if isinstance(values, IntervalSweep):
        start, end = (float(v) for v in (values.start, values.end) if v is not None)
        return FloatDistribution(start, end, log="log" in values.tags)
    if isinstance(values, RangeSweep) and all(isinstance(v, int) for v in (values.start, values.stop, values.step)):
        numbers = list(values.range())
        return IntDistribution(int(numbers[0]), int(numbers[-1]), step=int(values.step or 1), log="log" in values.tags)
    if not override.is_discrete_sweep():
        raise CompactHydraException(f"deblurlab: {key}: a search accepts interval, range and choice")
    return CategoricalDistribution(list(override.sweep_string_iterator()))


def _format(value: Any) -> str:
    """Return a value for an override. Six digits distinguish trials and keep the names of their folders short."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _state(name: str) -> "optuna.trial.TrialState":
    from optuna.trial import TrialState

    return TrialState[name]
