"""Optimizers that torch doesn't have, and the choice of the implementation of those that it has."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from deblurlab.errors import UserError


def lion(
    parameters: Iterable[nn.Parameter], *, lr: float, betas: tuple[float, float], weight_decay: float
) -> Optimizer:
    """Return timm's Lion (Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023, algorithm 2).

    Raises:
        UserError: timm isn't installed.
    """
    try:
        from timm.optim.lion import Lion
    except ImportError as error:
        raise UserError("optimizer=lion needs timm: pip install 'deblurlab[timm]'") from error
    return Lion(parameters, lr=lr, betas=betas, weight_decay=weight_decay)


def prepare_optimizer(optimizer: Optimizer) -> None:
    """Use torch's fused implementation on CPUs, which is five times faster, unless the config chooses one.

    It differs in the last bits. On GPUs torch's own choice is as fast. A loaded state keeps the memory format of the
    run that saved it, and the fused implementation requires that of the parameters: loading converts it.
    """
    for group in optimizer.param_groups if isinstance(optimizer, (SGD, Adam, AdamW)) else ():
        undecided = group.get("fused") is None and group.get("foreach") is None and not group.get("differentiable")
        if undecided and all(parameter.device.type == "cpu" for parameter in group["params"]):
            group["fused"] = True
    optimizer.register_load_state_dict_post_hook(_match_memory_formats)


@torch.no_grad()
def _match_memory_formats(optimizer: Optimizer) -> None:
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if (
                isinstance(value, torch.Tensor)
                and value.shape == parameter.shape
                and value.stride() != parameter.stride()
            ):
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
