"""Early start of the fork server, which forks the workers of data loaders from Python 3.14 on. Doesn't import torch."""

import multiprocessing
from multiprocessing import forkserver

_PRELOADED = ["__main__", "deblurlab.dataloading.augmentation", "deblurlab.dataloading.workers"]
"""Modules that the server imports once, instead of each worker. Failed imports are repeated in the workers."""


def start_fork_server() -> None:
    """Start the server, if workers are forked from one; it imports its modules while this process continues."""
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    if method == "forkserver":
        multiprocessing.set_forkserver_preload(_PRELOADED)
        forkserver.ensure_running()
