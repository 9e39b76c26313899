"""What each process of a training keeps to itself."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist


def gather_state(state: Any) -> list[Any]:
    """Each process's state, in the first one; every process must call this. Nothing in the others."""
    if not (dist.is_available() and dist.is_initialized()):
        return [state]
    states = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(state, states)
    return states or []


def own_state(states: Sequence[Any], trainer: pl.Trainer) -> Any:
    """This process's among them; None if so many processes are more than there were."""
    return states[trainer.global_rank] if trainer.global_rank < len(states) else None


def random_state() -> dict[str, Any]:
    """The state of every global stream of random numbers, as plain data."""
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  a library may use it
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Go on with streams where they stood."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
