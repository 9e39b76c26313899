"""Restoring and measuring, image by image."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import track
from torch import Tensor

from deblurlab.datasets import Pair, Unreferenced
from deblurlab.datasets.frame_store import Reader
from deblurlab.datasets.samples import to_tensor
from deblurlab.errors import UserError
from deblurlab.metrics import Protocol
from deblurlab.restorers.base import BaseRestorer, Restored
from deblurlab.restorers.psf import read_recipe

Row = dict[str, Any]
"""What is known of one image: a line of `per_image.csv`."""
_RECIPE = ("blur_length", "rotation", "objects", "defocus", "read_noise", "shot_noise", "jpeg_quality")


class Work(NamedTuple):
    """A pair of a test set."""

    set: str
    pair: Pair

    @property
    def key(self) -> str:
        return f"{self.set}/{self.pair.name}"


@dataclass
class Attempt:
    """To restore one image."""

    blurred: Tensor | None = None
    sharp: list[Tensor] = field(default_factory=list)
    restored: Restored | None = None
    seconds: float = 0.0
    error: str | None = None

    def run(self, restorer: BaseRestorer, pair: Pair) -> None:
        assert self.blurred is not None
        start = time.perf_counter()
        try:
            self.restored = restorer(self.blurred, pair)
        except (UserError, ValueError, ArithmeticError, RuntimeError) as error:  # the others may still be restored
            self.error = str(error) or type(error).__name__
        self.seconds = time.perf_counter() - start


def measured(
    todo: Sequence[Work], restorer: BaseRestorer, protocol: Protocol, reader: Reader
) -> Iterator[tuple[Row, Attempt]]:
    """Each image's row. While one is restored, the one before is measured and the next is read."""
    with ThreadPoolExecutor(2) as pool:
        ahead = deque(pool.submit(read_pair, one.pair, reader) for one in todo[:2])
        waiting: Future[tuple[Row, Attempt]] | None = None
        warm = False
        for i, one in enumerate(track(todo, "measuring", console=Console(stderr=True), disable=len(todo) < 2)):
            if i + 2 < len(todo):
                ahead.append(pool.submit(read_pair, todo[i + 2].pair, reader))
            attempt = Attempt()
            try:
                attempt.blurred, attempt.sharp = ahead.popleft().result()
                if not warm:
                    restorer.warm_up(attempt.blurred, one.pair)
                    warm = True
            except UserError as error:
                if attempt.blurred is not None:  # not this image is to blame
                    raise
                attempt.error = str(error)
            else:
                attempt.run(restorer, one.pair)
            if waiting is not None:
                yield waiting.result()
            waiting = pool.submit(_row, one, attempt, protocol)
        if waiting is not None:
            yield waiting.result()


def _row(one: Work, attempt: Attempt, protocol: Protocol) -> tuple[Row, Attempt]:
    row: Row = {"set": one.set, "image": one.pair.name}
    try:
        if attempt.blurred is not None:
            blurred = protocol.measure(attempt.blurred, attempt.sharp)
            row |= {f"{name}_blurred": value for name, value in blurred.items()}
        if attempt.restored is not None:
            assert attempt.blurred is not None
            row |= protocol.measure(attempt.restored.image, attempt.sharp)
            row["seconds"] = attempt.seconds
            row["megapixels"] = attempt.blurred[0].numel() / 1e6
            row |= {"psf": attempt.restored.psf, "untouched": attempt.restored.untouched}
        recipe = read_recipe(one.pair)
        row |= {key: recipe.get(key) for key in _RECIPE}
    except (UserError, ValueError) as error:
        attempt.error = str(error)
    return row | {"error": attempt.error}, attempt


def read_pair(pair: Pair, reader: Reader) -> tuple[Tensor, list[Tensor]]:
    """A blurred image and the sharp ones that it may be compared with."""
    files = pair.files[:1] if isinstance(pair, Unreferenced) else pair.files
    blurred, *sharp = (to_tensor(reader(path)).float() / 255 for path in files)
    return blurred, sharp
