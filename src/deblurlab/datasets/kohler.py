"""Benchmark of Köhler et al."""

import re
from collections.abc import Sequence
from pathlib import Path

from deblurlab.datasets.base import FileSet, Split, Store
from deblurlab.datasets.listing import Item, Pair, missing_error
from deblurlab.errors import UserError
from deblurlab.media.images import find_images


class Kohler(FileSet):
    """Benchmark of Köhler et al. ("Recording and Playback of Camera Shake", ECCV 2012), a test set.

    48 blurred photographs, 4 scenes along 12 recorded camera trajectories: `root/Blurry<scene>_<trajectory>.png`. Each
    has about 199 sharp references, taken along the trajectory and stored anywhere below `root`:
    `GroundTruth<scene>_<trajectory>_<number>.png`. A metric takes the best value over all references of a photograph.

    Raises:
        UserError: The data set is missing, or a blurred photograph has no reference.
    """

    published = {"test": 48}

    def __init__(self, *, root: str, store: Store = "auto") -> None:
        super().__init__(root=root, store=store)

    def prepare(self) -> None:
        """Check that the data set exists."""
        if not self.root.is_dir():
            raise missing_error(
                "Köhler",
                self.root,
                "BlurryImages and the four GroundTruth_pngs archives (8 GB)",
                "http://webdav.is.mpg.de/pixel/benchmark4camerashake/",
            )

    def tests(self) -> dict[str, Sequence[Item]]:
        """Return the test set "kohler"."""
        return {"kohler": self.items("test")}

    def items(self, split: Split) -> list[Pair]:
        """Return the test pairs; there are no others."""
        if split != "test":
            return []
        blurred: dict[str, Path] = {}
        sharp: dict[str, list[tuple[int, Path]]] = {}
        for path in find_images(self.root):
            if found := re.fullmatch(r"Blurry(\d+_\d+)", path.stem):
                blurred[found[1]] = path
            elif found := re.fullmatch(r"GroundTruth(\d+_\d+)_(\d+)", path.stem):
                sharp.setdefault(found[1], []).append((int(found[2]), path))
        if missing := sorted(blurred.keys() - sharp.keys()):
            raise UserError(
                f"{blurred[missing[0]]} has no reference GroundTruth{missing[0]}_<number> below {self.root}: unpack "
                f"the GroundTruth_pngs archives there"
            )
        pairs = []
        for key in sorted(blurred, key=lambda k: [int(n) for n in k.split("_")]):
            first, *further = [path for _, path in sorted(sharp[key])]
            pairs.append(Pair(key.replace("_", "/"), blurred[key], first, tuple(further)))
        return pairs
