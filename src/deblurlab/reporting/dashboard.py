"""A W&B workspace and an ablation report, as code."""

import json
from collections.abc import Sequence
from typing import Any

from deblurlab.errors import UserError, first_sentence

try:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.expr import Metric
except ImportError as missing:
    raise UserError("dashboards need another package: pip install 'deblurlab[dashboard]'") from missing

_STEP = "trainer/global_step"


def workspace(entity: str, project: str, metrics: list[str]) -> ws.Workspace:
    """Every run's curves: scores of the validation beside the blurred images', losses by term, what the optimizers do,
    and pictures.

    Args:
        entity: Whose; a user or a team.
        project: The loggers' `logger.wandb.project`.
        metrics: What the validation measures, such as `psnr`.
    """
    scores = [wr.LinePlot(title=m, x=_STEP, y=[f"val/{m}", f"val/{m}_blurred"]) for m in metrics]
    losses = [wr.LinePlot(title="losses", x=_STEP, metric_regex="^loss/.*", log_y=True)]
    optimizers = [
        wr.LinePlot(title="learning rates", x=_STEP, metric_regex="^lr/.*"),
        wr.LinePlot(title="norms of gradients", x=_STEP, metric_regex="^gradient/.*", log_y=True),
    ]
    pictures = [wr.WeavePanelSummaryTable(table_name="test/images")]
    named = {"validation": scores, "losses": losses, "optimizers": optimizers, "test images": pictures}
    sections = [ws.Section(name=name, panels=list(panels), is_open=True) for name, panels in named.items()]
    return ws.Workspace(entity=entity, project=project, name="deblurlab", sections=sections)


def ablation(entity: str, project: str, metrics: list[str], group: str, by: str) -> wr.Report:
    """What a setting is good for, over the runs of a sweep: means over seeds, with bands.

    Args:
        entity: Whose; likewise `project` and `metrics` as for `workspace`.
        group: The sweep's folder, as its loggers name it, `runs/losses`.
        by: The setting, a key of the config, `options.loss`.
    """
    key = wr.Config(by)
    bars = [
        wr.BarPlot(
            title=m, metrics=[f"val/{m}"], groupby=key, groupby_aggfunc="mean", groupby_rangefunc="stddev",
            layout=wr.Layout(w=12, h=8),
        )
        for m in metrics
    ]  # fmt: skip
    curves = [
        wr.LinePlot(
            title=m, x=_STEP, y=[f"val/{m}"], groupby=key, groupby_aggfunc="mean", groupby_rangefunc="minmax",
            layout=wr.Layout(w=12, h=8),
        )
        for m in metrics
    ]  # fmt: skip
    runs = wr.Runset(name=group, filters=[Metric("Group") == group], groupby=[f"config.{by}"])
    blocks = [
        wr.H1(text=f"{group} by {by}"),
        wr.P(text="Bars: mean and standard deviation over runs. Curves: mean, in a band from the least to the most."),
        wr.PanelGrid(runsets=[runs], panels=[*bars, *curves]),
    ]
    return wr.Report(entity=entity, project=project, title=f"{group} by {by}", blocks=blocks)


def show(made: Sequence[Any]) -> str:
    """What would be sent, as JSON."""
    return json.dumps([json.loads(one._to_model().model_dump_json(by_alias=True)) for one in made], indent=2)


def create(made: Sequence[Any]) -> list[str]:
    """Send it; the addresses at which it can be seen.

    Raises:
        UserError: There is no account, or no network.
    """
    try:
        return [one.save().url for one in made]
    except Exception as error:  # of the client, of its transport, or of ours when there is no key
        raise UserError(
            f"W&B can't be had: {first_sentence(error)}. `deblurlab dashboard show` needs neither"
        ) from error
