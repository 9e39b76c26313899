"""Synthetic scenes that are generated on demand, without files."""

from typing import Any

import numpy as np
from torch.utils.data import Dataset

from deblurlab.datasets.samples import Key, Sample
from deblurlab.synthesis import ImageSource, Synthesis
from deblurlab.synthesis.device import SceneBatch, render_batch, scene_to_tensors

_STREAM = 3
"""Random stream of these scenes. `Synthetic` uses 0 to 2 for the pairs on disk."""


class SceneDataset(Dataset[dict[str, Any]]):
    """Map-style data set of synthetic scenes, indexed by a `Key`. A scene is a function of the key and the seed.

    A data loading worker draws and paints the scene; `finish_batch` renders the pairs of a collated batch on the
    training device.

    Args:
        synthesis: Ranges of motion, noise and other properties.
        source: Returns the background of a scene.
        count: Number of scenes per epoch.
        seed: Seed of the scenes.
    """

    def __init__(self, synthesis: Synthesis, *, source: ImageSource, count: int, seed: int) -> None:
        self._synthesis, self._source, self._count, self._seed = synthesis, source, count, seed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, index, size = key
        sequence = np.random.SeedSequence((self._seed, _STREAM, epoch, index))
        rng = np.random.default_rng(sequence)
        scene = self._synthesis.draw_scene(rng, size, size, source=self._source, batchable=True)
        noise_seed = int(sequence.spawn(1)[0].generate_state(1, np.uint64)[0] >> 1)
        tensors = scene_to_tensors(scene, self._synthesis, seed=noise_seed)
        return {**tensors._asdict(), "name": f"endless/{epoch}/{index}", "index": index}

    def finish_batch(self, batch: dict[str, Any]) -> Sample:
        """Return the batch of pairs of a collated batch of scenes."""
        scenes = SceneBatch(*(batch[name] for name in SceneBatch._fields))
        blurred, sharp = render_batch(scenes, self._synthesis)
        return {"blurred": blurred, "sharp": sharp, "name": batch["name"], "index": batch["index"]}
