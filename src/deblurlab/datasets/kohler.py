"""The layout of Köhler et al.'s benchmark."""

import re
from pathlib import Path

from deblurlab.datasets.base import Pair, missing
from deblurlab.datasets.sets import PairSet, Store
from deblurlab.errors import UserError
from deblurlab.media.images import find_images


class Kohler(PairSet):
    """48 photographs of 4 prints along 12 recorded camera shakes (Köhler et al., "Recording and Playback of Camera
    Shake", ECCV 2012): `root/Blurry<image>_<shake>.png`, and anywhere below `root` the about 199 sharp photographs
    from along each shake, `GroundTruth<image>_<shake>_<moment>.png`. A restored image may be like any of them: its
    best score counts. A test set.

    Raises:
        UserError: The data set isn't there, or a blurred photograph has no sharp one.
    """

    published = {"test": 48}

    def __init__(self, *, root: str, store: Store = "auto") -> None:
        super().__init__(root=root, store=store)

    def prepare(self) -> None:
        if not self.root.is_dir():
            raise missing(
                "Köhler", self.root, "BlurryImages and the four GroundTruth_pngs archives (8 GB)",
                'Köhler et al., "Recording and Playback of Camera Shake"',
            )  # fmt: skip

    def tests(self) -> dict[str, list[Pair]]:
        blurred: dict[str, Path] = {}
        sharp: dict[str, list[tuple[int, Path]]] = {}
        for path in find_images(self.root):
            if found := re.fullmatch(r"Blurry(\d+_\d+)", path.stem):
                blurred[found[1]] = path
            elif found := re.fullmatch(r"GroundTruth(\d+_\d+)_(\d+)", path.stem):
                sharp.setdefault(found[1], []).append((int(found[2]), path))
        if lone := sorted(blurred.keys() - sharp.keys()):
            raise UserError(
                f"{blurred[lone[0]]} has no sharp photographs GroundTruth{lone[0]}_<moment> below {self.root}"
            )
        pairs = []
        for key in sorted(blurred, key=lambda k: [int(n) for n in k.split("_")]):
            first, *others = [path for _, path in sorted(sharp[key])]
            pairs.append(Pair(f"{key.replace('_', '/')}", blurred[key], first, tuple(others)))
        return {"kohler": pairs}
