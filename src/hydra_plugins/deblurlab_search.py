"""`hydra/sweeper=search`: a sweep that looks for the best settings instead of trying all of them, with Optuna."""

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

from deblurlab.config.resolvers import run_name

if TYPE_CHECKING:
    import optuna

_LOG = logging.getLogger("hydra.deblurlab")
_FAILED = "failed"


class Search(Sweeper):
    """Asks Optuna for settings, trains with them, tells it the validation's scores, and so on; several objectives are
    traded off against each other (multi-objective TPE: Ozaki et al., "Multiobjective Tree-Structured Parzen Estimator",
    JAIR 2022).

    Every trial is a run like any other. What has been tried is kept in a journal, so that the same command goes on with
    a search that was ended: it first takes up the trials that were running. One process searches in a folder at a time.

    Args:
        params: What to vary, as in Hydra's other sweeps: `tag(log, interval(0.001, 1))`, `interval(0, 1)`,
            `range(1, 5)`, `choice(a, b)` or `a,b`; likewise on the command line.
        objectives: Metrics of the validation, such as `["psnr", "lpips_alex"]`; each is known to be better high or low.
        trials: How many, over all.
        batch: How many at once, with a launcher that runs several.
        journal: The file.
        seed: Of the proposals.
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
        self.hydra_context, self.config = hydra_context, config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        self._check_settings()
        assert self.config is not None
        fixed, space = self._space(arguments)
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        study = self._study(fixed, space)
        launched, failures = 0, 0
        while (left := self._trials - self._done(study)) > 0:
            trials = [study.ask(space) for _ in range(min(left, self._batch))]
            jobs = [(*fixed, *(f"{key}={_written(value)}" for key, value in t.params.items())) for t in trials]
            different = list(dict.fromkeys(jobs))  # of few choices some come twice
            self.validate_batch_is_legal(different)
            returned = self.launcher.launch(different, initial_job_idx=trials[0].number)
            finished = dict(zip(different, returned, strict=True))
            for trial, job in zip(trials, jobs, strict=True):
                try:
                    values = self._values(finished[job].return_value)
                except Exception as error:  # whatever a job raises
                    failures += 1
                    trial.set_user_attr(_FAILED, str(error))
                    study.tell(trial, state=_state("FAIL"))
                    _LOG.error("trial %d failed: %s", trial.number, error)
                else:
                    study.tell(trial, values)
            launched += len(jobs)
            if failures == launched:
                raise CompactHydraException("deblurlab: every trial has failed so far: the search ends")
        self._tell(study)

    def _check_settings(self) -> None:
        assert self.config is not None
        if find_spec("optuna") is None:
            raise CompactHydraException("deblurlab: hydra/sweeper=search needs: pip install 'deblurlab[search]'")
        if self._trials < 1 or self._batch < 1:
            raise CompactHydraException(
                f"deblurlab: hydra.sweeper.trials={self._trials} and batch={self._batch} must be at least 1"
            )
        measured = [*self.config.protocol.metrics, "kid"]
        if not self._objectives or not set(self._objectives) <= set(measured):
            raise CompactHydraException(
                f"deblurlab: hydra.sweeper.objectives={self._objectives}: the validation measures "
                f"{', '.join(measured[:-1])} (protocol.metrics)"
            )

    def _space(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, "optuna.distributions.BaseDistribution"]]:
        """What stays as it is, and what is varied, over which values."""
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        words = [f"{key}={value}" for key, value in self._params.items()]
        chosen = {override.get_key_element(): override for override in parser.parse_overrides([*words, *arguments])}
        fixed = [f"{key}={o.get_value_element_as_str()}" for key, o in chosen.items() if not o.is_sweep_override()]
        space = {}
        for key, override in chosen.items():
            if override.is_sweep_override():
                try:
                    space[key] = _distribution(override)
                except (ValueError, IndexError) as error:
                    raise CompactHydraException(f"deblurlab: {key} can't be varied as asked: {error}") from error
        if not space:
            raise CompactHydraException("deblurlab: a search needs something to vary: loss.vgg.weight=interval(0.01,1)")
        return fixed, space

    def _study(self, fixed: Sequence[str], space: Mapping[str, Any]) -> "optuna.Study":
        """The journal's study, which is of the same settings; `fresh=true` starts a new one."""
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        from deblurlab.metrics import LOWER_IS_BETTER

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if "fresh=true" in [word.lower() for word in fixed]:
            self._journal.unlink(missing_ok=True)
        try:
            storage = JournalStorage(JournalFileBackend(str(self._journal)))
        except ValueError as error:
            raise CompactHydraException(f"deblurlab: {self._journal} is damaged ({error}): delete it") from error
        up, down = optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE
        directions = [up if name not in LOWER_IS_BETTER else down for name in self._objectives]
        study = optuna.create_study(
            study_name=", ".join(self._objectives), storage=storage, load_if_exists=True, directions=directions
        )
        settings = {"fixed": run_name(None, fixed), "varied": {key: repr(of) for key, of in sorted(space.items())}}
        if (before := study.user_attrs.get("settings", settings)) != settings:
            raise CompactHydraException(
                f"deblurlab: {self._journal} is a search over other values: it was {before} and is {settings}; choose "
                f"another runs=<folder>, or fresh=true"
            )
        study.set_user_attr("settings", settings)
        # What has been proposed isn't proposed again by a search that goes on.
        study.sampler = optuna.samplers.TPESampler(seed=self._seed + len(study.trials), constant_liar=self._batch > 1)
        for trial in study.get_trials(states=[_state("RUNNING")]):
            study.tell(trial.number, state=_state("FAIL"))
            study.enqueue_trial(trial.params)
        return study

    def _done(self, study: "optuna.Study") -> int:
        """Finished and failed trials; those that were ended come again."""
        return sum(t.state == _state("COMPLETE") or _FAILED in t.user_attrs for t in study.trials)

    def _values(self, results: Mapping[str, Any]) -> list[float]:
        scores = results.get("validation") or {}
        if missing := [
            name for name in self._objectives if not isfinite(nan if scores.get(name) is None else scores[name])
        ]:
            raise CompactHydraException(
                f"the validation measured no {missing[0]} (protocol.metrics), but {', '.join(scores) or 'nothing'}"
            )
        return [float(scores[name]) for name in self._objectives]

    def _tell(self, study: "optuna.Study") -> None:
        """The best trials: those than which none is better by one objective and not worse by the others."""
        _LOG.info("%d trials, the best of which are", self._done(study))
        best = {str(trial.params): trial for trial in reversed(study.best_trials)}  # settings that came twice but once
        for trial in sorted(best.values(), key=lambda t: t.values[0], reverse=True):
            scores = "  ".join(
                f"{name} {value:.4f}" for name, value in zip(self._objectives, trial.values, strict=True)
            )
            settings = " ".join(f"{key}={_written(value)}" for key, value in trial.params.items())
            _LOG.info("#%d : %s  %s", trial.number, scores, settings)


def _distribution(override: Override) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values, key = override.value(), override.get_key_element()
    if isinstance(values, IntervalSweep):
        start, end = (float(v) for v in (values.start, values.end) if v is not None)
        return FloatDistribution(start, end, log="log" in values.tags)
    if isinstance(values, RangeSweep) and all(isinstance(v, int) for v in (values.start, values.stop, values.step)):
        numbers = list(values.range())
        return IntDistribution(int(numbers[0]), int(numbers[-1]), step=int(values.step or 1), log="log" in values.tags)
    if not override.is_discrete_sweep():
        raise CompactHydraException(f"deblurlab: {key}: a search takes interval, range and choice")
    return CategoricalDistribution(list(override.sweep_string_iterator()))


def _written(value: Any) -> str:
    """As an override; six digits tell trials apart and keep the names of their folders short."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _state(name: str) -> "optuna.trial.TrialState":
    from optuna.trial import TrialState

    return TrialState[name]
