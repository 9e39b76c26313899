"""Training pairs without end: every epoch other scenes, photographed on the training's device."""

from typing import Any

import numpy as np
from torch.utils.data import Dataset

from deblurlab.dataloading.sampler import Key
from deblurlab.datasets.samples import Sample
from deblurlab.synthesis import Ground, Synthesis
from deblurlab.synthesis.device import Scenes, photograph, prepared

_STREAM = 3
"""Apart from those of `Synthetic`'s pairs on disk."""


class EndlessScenes(Dataset[dict[str, Any]]):
    """Scenes, asked for by `(epoch, index, size)`; each is a function of that and the seed. An epoch has `count`.

    A scene is drawn and painted where it is asked for, in a loader's worker; `finish` makes pairs of a collated batch.
    """

    def __init__(self, synthesis: Synthesis, *, ground: Ground, count: int, seed: int) -> None:
        self._synthesis, self._ground, self._count, self._seed = synthesis, ground, count, seed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, index, size = key
        sequence = np.random.SeedSequence((self._seed, _STREAM, epoch, index))
        scene = self._synthesis.scene(np.random.default_rng(sequence), size, size, ground=self._ground, even=True)
        noise = int(sequence.spawn(1)[0].generate_state(1, np.uint64)[0] >> 1)
        made = prepared(scene, self._synthesis, seed=noise)
        return {**made._asdict(), "name": f"endless/{epoch}/{index}", "index": index}

    def finish(self, batch: dict[str, Any]) -> Sample:
        """A collated batch of scenes -> the batch of their pairs."""
        scenes = Scenes(*(batch[name] for name in Scenes._fields))
        blurred, sharp = photograph(scenes, self._synthesis)
        return {"blurred": blurred, "sharp": sharp, "name": batch["name"], "index": batch["index"]}
