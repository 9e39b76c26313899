"""Initialisation of the workers of data loaders. Every worker imports this module, so it doesn't import Lightning."""

import cv2

from deblurlab.dataloading.resilient_loader import defer_signals


def init_worker(worker: int) -> None:
    """Make OpenCV use one thread, and defer signals; a `worker_init_fn`."""
    cv2.setNumThreads(0)
    defer_signals(worker)
