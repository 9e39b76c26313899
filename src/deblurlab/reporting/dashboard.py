"""Weights & Biases workspace and ablation report, defined in code."""

import json
from collections.abc import Sequence
from typing import Any

from deblurlab._compat import wandb_workspace_json
from deblurlab.errors import UserError, first_sentence

try:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.expr import Metric
except ImportError as missing:
    raise UserError(
        "dashboards need wandb-workspaces, which isn't installed: pip install 'deblurlab[dashboard]'"
    ) from missing

_STEP = "trainer/global_step"


def workspace(entity: str, project: str, metrics: list[str]) -> ws.Workspace:
    """Return a workspace with the curves of every run: validation metrics, losses, optimizers and test images.

    Args:
        entity: User or team that owns the workspace.
        project: Project, as in `logger.wandb.project`.
        metrics: Names of validation metrics, such as `psnr`.
    """
    validation = [wr.LinePlot(title=m, x=_STEP, y=[f"val/{m}", f"val/{m}_blurred"]) for m in metrics]
    losses = [wr.LinePlot(title="losses", x=_STEP, metric_regex="^loss/.*", log_y=True)]
    optimizers = [
        wr.LinePlot(title="learning rates", x=_STEP, metric_regex="^lr/.*"),
        wr.LinePlot(title="gradient norms", x=_STEP, metric_regex="^gradient/.*", log_y=True),
    ]
    images = [wr.WeavePanelSummaryTable(table_name="test/images")]
    named = {"validation": validation, "losses": losses, "optimizers": optimizers, "test images": images}
    sections = [ws.Section(name=name, panels=list(panels), is_open=True) for name, panels in named.items()]
    return ws.Workspace(entity=entity, project=project, name="deblurlab", sections=sections)


def ablation(entity: str, project: str, metrics: list[str], group: str, by: str) -> wr.Report:
    """Return a report on the effect of a setting over the runs of a sweep: means over seeds, with bands.

    Args:
        entity: User or team that owns the report.
        project: Project, as in `logger.wandb.project`.
        metrics: Names of validation metrics, such as `psnr`.
        group: Folder of the sweep, which the loggers use as the group, such as `runs/losses`.
        by: Key of the setting in the config, such as `options.loss`.
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
        wr.P(text="Bars: mean and standard deviation over runs. Curves: mean, with a band from minimum to maximum."),
        wr.PanelGrid(runsets=[runs], panels=[*bars, *curves]),
    ]
    return wr.Report(entity=entity, project=project, title=f"{group} by {by}", blocks=blocks)


def show(pages: Sequence[Any]) -> str:
    """Return the pages that `create` would upload, as JSON."""
    return json.dumps([json.loads(wandb_workspace_json(page)) for page in pages], indent=2)


def create(pages: Sequence[Any]) -> list[str]:
    """Create pages on the W&B server and return their addresses.

    Raises:
        UserError: There is no account, or the server is not reachable.
    """
    try:
        return [page.save().url for page in pages]
    except Exception as error:  # raised by the client, by its transport, or by wandb without an API key
        raise UserError(
            f"W&B is not available: {first_sentence(error)}. `deblurlab dashboard show` works offline"
        ) from error
