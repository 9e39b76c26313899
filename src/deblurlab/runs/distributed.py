"""State that differs between the processes of a training: gathering, distribution and random generators."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist


def gather_state(state: Any) -> list[Any]:
    """Return the states of all processes on rank 0, an empty list on the others. All processes must call this."""
    if not (dist.is_available() and dist.is_initialized()):
        return [state]
    states = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(state, states)
    return states or []


def own_state(states: Sequence[Any], trainer: pl.Trainer) -> Any:
    """Return this process's state out of gathered ones; None if there are more processes than states."""
    return states[trainer.global_rank] if trainer.global_rank < len(states) else None


def random_state() -> dict[str, Any]:
    """Return the state of the global random generators of Python, NumPy and torch as plain data."""
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  libraries may use it
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Set the global random generators to a state that `random_state` returned."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
