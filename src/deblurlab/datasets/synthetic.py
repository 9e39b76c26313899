"""Synthetic data set, which needs no download: synthetic scenes to train on, photographs to test on."""

import errno
import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, get_args

import cv2
import numpy as np
import skimage.data
from filelock import FileLock

from deblurlab.datasets.base import FileSet, Split, TrainingData
from deblurlab.datasets.checks import worker_count
from deblurlab.datasets.gopro import sequence_pairs
from deblurlab.datasets.listing import Item, Pair
from deblurlab.datasets.photographs import Photographs, SideRange, find_photographs
from deblurlab.datasets.samples import PairTransform
from deblurlab.datasets.synthetic_scenes import SceneDataset
from deblurlab.errors import UserError
from deblurlab.media.images import write_png
from deblurlab.runs.progress import track
from deblurlab.synthesis import BlurKey, Synthesis
from deblurlab.synthesis.scenes import dead_leaves

PHOTOGRAPHS: dict[str, Callable[[], np.ndarray]] = {
    "astronaut": skimage.data.astronaut,
    "chelsea": skimage.data.chelsea,
    "coffee": skimage.data.coffee,
    "motorcycle": lambda: skimage.data.stereo_motorcycle()[0],
    "rocket": skimage.data.rocket,
}
"""The colour photographs in scikit-image's package. They are used for tests only."""

_VERSION = 2
"""Raised whenever the same seed gives other images."""
_MAX_SEQUENTIAL_PIXELS = 64 * 320 * 320
"""Up to this number of pixels, one process is done before others have started."""
_STREAMS = {"train": 0, "val": 1, "test": 2}


class _Task(NamedTuple):
    """One pair to generate."""

    folder: Path
    """Folder of the sequence."""
    number: int
    stream: tuple[int, ...]
    """Seed of the pair's random numbers."""
    photograph: str | None
    """Name of the photograph; None for a scene."""


class Synthetic(FileSet):
    """Synthetic scenes with camera shake and moving objects, and a test set of photographs with synthetic camera shake.

    The pairs are written once to a folder below `root`, whose name is a digest of all arguments, in GoPro's layout:
    `train/scenes` (`train` pairs), `train/validation` (`val` pairs), `test/<photograph>` (`blurs` pairs each), each
    pair with its recipe as JSON. Every pair is a function of the seed and its number; the splits use different seeds.

    Args:
        root: Folder that contains the data set's folder.
        seed: Seed of all pairs.
        train: Number of training pairs, or with `endless` of an epoch.
        val: Number of validation pairs.
        blurs: Number of test pairs for each photograph.
        height: Height of the scenes in pixels.
        width: Width of the scenes in pixels.
        blur_key: What is averaged over the exposure: "blur_gamma" linear light, "blur" sRGB values. `scenes` and
            `test_photographs` must agree; `scenes` may use "either", a mixture that is stored under this name.
        texture: Share of the dead leaves with fine texture, see `dead_leaves`. Above 0, a seed gives other scenes.
        endless: Training pairs are generated on the training device instead of on disk; no epoch repeats a pair.
        source_images: Folder of sharp photographs from which training and validation scenes are cropped, instead of
            dead leaves. Images that are too small are ignored; the last tenth by name is used for validation. They are
            decoded once, into a folder below `root`, which is deleted when the pairs are on disk.
        source_side: Range of the longer side in pixels to which a source image is reduced for each scene; None for no
            reduction. Photographs of many megapixels are soft at full size.
        scenes: Ranges of the training and validation pairs.
        test_photographs: Ranges of the test pairs.

    Raises:
        UserError: A number is out of range, `blur_key` is unknown or differs from the ranges', the folder can't be
            written, or fewer than two source images are large enough.
    """

    def __init__(
        self,
        *,
        root: str,
        seed: int = 0,
        train: int = 1000,
        val: int = 16,
        blurs: int = 8,
        height: int = 320,
        width: int = 320,
        blur_key: BlurKey = "blur_gamma",
        texture: float = 0.0,
        endless: bool = False,
        source_images: str | None = None,
        source_side: SideRange | None = None,
        scenes: Synthesis,
        test_photographs: Synthesis,
    ) -> None:
        if min(train, val, blurs) < 1:
            raise UserError(f"data.train={train}, data.val={val} and data.blurs={blurs} must be at least 1")
        if not 0 <= texture <= 1:
            raise UserError(f"data.texture={texture} must be between 0 and 1")
        if blur_key not in get_args(BlurKey):
            raise UserError(f"data.blur_key is {blur_key!r}: blur or blur_gamma")
        if scenes.blur_key not in (blur_key, "either") or test_photographs.blur_key != blur_key:
            raise UserError(
                f"data.blur_key={blur_key}, data.scenes.blur_key={scenes.blur_key} and data.test_photographs.blur_key="
                f"{test_photographs.blur_key} must be the same; only the scenes may use either"
            )
        self._seed, self._train, self._val, self._blurs = seed, train, val, blurs
        self._size = height, width
        self._blur_key, self._endless = blur_key, endless
        self._scenes, self._test_photographs = scenes, test_photographs
        self._leaves = functools.partial(dead_leaves, texture=texture)
        self._sources: dict[int, Photographs] = {}
        self._source_images = None if source_images is None else Path(source_images)
        ranges = asdict(scenes), asdict(test_photographs)
        settings: list[Any] = [_VERSION, seed, train, val, blurs, self._size, float(texture), *ranges]
        self._source_side = source_side
        if source_side is not None and source_images is None:
            raise UserError(f"source_side={source_side} needs source_images=<folder of sharp photographs>")
        if self._source_images is not None:
            files = find_photographs(self._source_images, source_side, *scenes.background_size(height, width))
            settings.append([source_side, [[path.name, path.stat().st_size] for path in files]])
        self.folder = Path(root) / f"synthetic-{sha256(json.dumps(settings).encode()).hexdigest()[:10]}"
        if self._source_images is not None:
            store, held_out = self.folder.with_name(f"{self.folder.name}-photographs"), max(1, len(files) // 10)
            crops = functools.partial(Photographs, self._source_images, files, store=store, side=source_side)
            self._sources = {0: crops(part=slice(-held_out)), 1: crops(part=slice(-held_out, None))}
        super().__init__(root=self.folder)

    def prepare(self) -> None:
        """Generate the pairs, unless the folder exists. An interrupted call is resumed by the next one."""
        partial = self.folder.with_name(f".{self.folder.name}.partial")
        needed = self._sources.values() if self._endless else ()
        if self.folder.exists() and all(source.is_prepared() for source in needed):
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(partial.with_suffix(".lock")):  # another run may be generating the same pairs
                for source in self._sources.values():
                    source.prepare()
                if not self.folder.exists():
                    self._write_all(partial)
                if not self._endless:
                    for source in self._sources.values():
                        source.delete()
        except OSError as error:
            no_space = error.errno == errno.ENOSPC
            remedy = "free some space" if no_space else "choose another folder with data.root=<folder>"
            raise UserError(
                f"the synthetic data set can't be written to {self.folder}: {error.strerror}; {remedy}"
            ) from error

    def items(self, split: Split) -> list[Pair]:
        """Return the pairs of a split on disk; no training pairs if they are generated on demand."""
        if split == "train" and self._endless:
            return []
        sequences = {"train": ["scenes"], "val": ["validation"], "test": sorted(PHOTOGRAPHS)}[split]
        return sequence_pairs(self.folder / ("test" if split == "test" else "train"), sequences, self._blur_key)

    def tests(self) -> dict[str, Sequence[Item]]:
        """Return the test set "photographs"."""
        return {"photographs": self.items("test")}

    def training(self, augmentations: Mapping[int, PairTransform], *, repeat: int, seed: int) -> TrainingData:
        """Return crops of the pairs on disk, or with `endless` new scenes of the crops' size, without augmentation."""
        if not self._endless:
            return super().training(augmentations, repeat=repeat, seed=seed)
        for size in augmentations:
            if size <= math.ceil(self._scenes.defocus[1]):
                raise UserError(f"augment.size={size} is too small for data.scenes.defocus={self._scenes.defocus}")
            if self._source_images is not None:
                find_photographs(self._source_images, self._source_side, *self._scenes.background_size(size, size))
        source = self._sources.get(_STREAMS["train"], self._leaves)
        scenes = SceneDataset(self._scenes, source=source, count=self._train, seed=seed)
        return TrainingData(scenes, [self._train * repeat], [1.0], finish_batch=scenes.finish_batch)

    def _write_all(self, partial: Path) -> None:
        # The recipe is written last, so a pair with a recipe is complete.
        tasks = [task for task in self._tasks(partial) if not self._files(task)[-1].exists()]
        for folder in {task.folder for task in tasks}:
            for kind in (self._blur_key, "sharp", "recipe"):
                (folder / kind).mkdir(parents=True, exist_ok=True)
        self._run(tasks)
        partial.rename(self.folder)

    def _tasks(self, root: Path) -> Iterator[_Task]:
        train = 0 if self._endless else self._train
        for split, folder, count in (("train", "scenes", train), ("val", "validation", self._val)):
            for i in range(count):
                yield _Task(root / "train" / folder, i, (self._seed, _STREAMS[split], i), None)
        for p, photograph in enumerate(PHOTOGRAPHS):
            for i in range(self._blurs):
                yield _Task(root / "test" / photograph, i, (self._seed, _STREAMS["test"], p, i), photograph)

    def _run(self, tasks: list[_Task]) -> None:
        description = f"Generating {len(tasks)} synthetic pairs"
        if len(tasks) * math.prod(self._size) <= _MAX_SEQUENTIAL_PIXELS:
            for task in track(tasks, description, len(tasks)):
                self._write([task])
            return
        chunks = [tasks[i : i + 8] for i in range(0, len(tasks), 8)]
        # Spawned, not forked, because this process may run threads of torch.
        with ProcessPoolExecutor(worker_count(), get_context("spawn"), cv2.setNumThreads, (1,)) as pool:
            done = pool.map(self._write, chunks)
            for _ in track(done, description, len(chunks)):
                pass

    def _write(self, tasks: list[_Task]) -> None:
        for task in tasks:
            rng = np.random.default_rng(task.stream)
            if task.photograph is None:
                source = self._sources.get(task.stream[1], self._leaves)
                blurred, sharp, recipe = self._scenes.scene_pair(rng, *self._size, source=source)
            else:
                blurred, sharp, recipe = self._test_photographs.photo_pair(rng, PHOTOGRAPHS[task.photograph]())
            blurred_file, sharp_file, recipe_file = self._files(task)
            write_png(blurred_file, blurred)
            write_png(sharp_file, sharp)
            recipe_file.write_text(json.dumps(asdict(recipe)) + "\n")

    def _files(self, task: _Task) -> tuple[Path, Path, Path]:
        """Return the files of the blurred image, the sharp image and the recipe."""
        name = f"{task.number:06d}"
        return (
            task.folder / self._blur_key / f"{name}.png",
            task.folder / "sharp" / f"{name}.png",
            task.folder / "recipe" / f"{name}.json",
        )
