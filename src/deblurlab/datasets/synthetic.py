"""The data set that needs no download: made scenes to train on, real photographs to test on."""

import errno
import functools
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
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
from rich.progress import track

from deblurlab.dataloading.augmentation import Augmentation
from deblurlab.datasets.base import Pair
from deblurlab.datasets.endless import EndlessScenes
from deblurlab.datasets.gopro import pairs_of
from deblurlab.datasets.sets import PairSet, Training
from deblurlab.errors import UserError
from deblurlab.media.images import find_images, image_size, read_image, write_png
from deblurlab.synthesis import BlurKey, Ground, Synthesis
from deblurlab.synthesis.scenes import Image, dead_leaves

PHOTOGRAPHS: dict[str, Callable[[], np.ndarray]] = {
    "astronaut": skimage.data.astronaut,
    "chelsea": skimage.data.chelsea,
    "coffee": skimage.data.coffee,
    "motorcycle": lambda: skimage.data.stereo_motorcycle()[0],
    "rocket": skimage.data.rocket,
}
"""The colour photographs that come with scikit-image. They serve for testing and for nothing else."""

_VERSION = 2
"""Raised whenever the same seed gives other pictures."""
_FEW = 64 * 320 * 320
"""Pixels that are made about as soon as other processes have started."""
_STREAMS = {"train": 0, "val": 1, "test": 2}


class _Task(NamedTuple):
    folder: Path
    """The sequence's folder."""
    number: int
    stream: tuple[int, ...]
    photograph: str | None


class _Photos:
    """Random parts of sharp photographs, to lay scenes on."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> Image:
        photo = read_image(self._files[int(rng.integers(len(self._files)))])
        top, left = (
            int(rng.integers(side - part + 1)) for side, part in zip(photo.shape, (height, width), strict=False)
        )
        part = photo[top : top + height, left : left + width]
        return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)


class Synthetic(PairSet):
    """Scenes of dead leaves, blurred by camera shake and moving objects, and photographs blurred by shake alone.

    Written once to a folder of its own below `root`, whose name is a digest of all arguments, in GoPro's layout:
    `train/scenes` (`train` pairs), `train/validation` (`val` pairs, other seeds), `test/<photograph>` (`blurs` pairs
    each, yet other seeds), with each pair's recipe beside it. Every pair is a function of the seed and its own number.

    Args:
        height: Of the made scenes, in pixels; likewise `width`.
        blur_key: What is averaged over the exposure, "blur_gamma" or "blur"; the scenes of a seed are the same. Both
            ranges say so, too; those of the made scenes may say "either" and have both under this name.
        texture: Share of the dead leaves with fine texture, as `dead_leaves` has it. With any, the scenes of a seed are
            others.
        endless: Training pairs aren't written: an epoch has `train` new ones, made on the device that trains.
        source_images: A folder of sharp photographs to make training and validation scenes from, instead of dead leaves: those
            that are large enough; the last tenth in name order serves for validation.
        scenes: The ranges that training and validation pairs are drawn from.
        test_photographs: The ranges of the test pairs.

    Raises:
        UserError: A number is out of its range, `blur_key` is unknown or not that of the ranges, the folder can't be
            written, or there are fewer than two photographs of the size that is needed.
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
        scenes: Synthesis,
        test_photographs: Synthesis,
    ) -> None:
        if min(train, val, blurs) < 1:
            raise UserError(f"data.train={train}, data.val={val} and data.blurs={blurs} must be at least 1")
        if not 0 <= texture <= 1:
            raise UserError(f"data.texture={texture} is a share: 0 to 1")
        if blur_key not in get_args(BlurKey):
            raise UserError(f"data.blur_key is {blur_key!r}: blur or blur_gamma")
        if scenes.blur_key not in (blur_key, "either") or test_photographs.blur_key != blur_key:
            raise UserError(
                f"data.blur_key={blur_key}, and data.scenes.blur_key={scenes.blur_key} and "
                f"data.test_photographs.blur_key={test_photographs.blur_key}: the same for all, or either for the scenes"
            )
        self._seed, self._train, self._val, self._blurs = seed, train, val, blurs
        self._size = height, width
        self._blur_key, self._endless = blur_key, endless
        self._scenes, self._test_photographs = scenes, test_photographs
        self._leaves = functools.partial(dead_leaves, texture=texture)
        what: list[Any] = [
            _VERSION,
            seed,
            train,
            val,
            blurs,
            self._size,
            float(texture),
            asdict(self._scenes),
            asdict(self._test_photographs),
        ]
        self._grounds: dict[int, Ground] = {}
        self._source_images = None if source_images is None else Path(source_images)
        if source_images is not None:
            files = self._large_enough(Path(source_images), height, width)
            held_out = max(1, len(files) // 10)
            self._grounds = {0: _Photos(files[:-held_out]), 1: _Photos(files[-held_out:])}
            what.append([[path.name, path.stat().st_size] for path in files])
        self.folder = Path(root) / f"synthetic-{sha256(json.dumps(what).encode()).hexdigest()[:10]}"
        super().__init__(root=self.folder)

    def prepare(self) -> None:
        partial = self.folder.with_name(f".{self.folder.name}.partial")
        if self.folder.exists():
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(partial.with_suffix(".lock")):  # a second run waits for the first one's pictures
                if not self.folder.exists():
                    self._write_all(partial)
        except OSError as error:
            mend = "free some space" if error.errno == errno.ENOSPC else "choose another folder with data.root=<folder>"
            raise UserError(
                f"the synthetic data set can't be written to {self.folder}: {error.strerror}; {mend}"
            ) from error

    def _large_enough(self, folder: Path, height: int, width: int) -> list[Path]:
        rows, columns = self._scenes.needed(height, width)
        found = find_images(folder)
        files = [path for path in found if all(a >= b for a, b in zip(image_size(path), (columns, rows), strict=True))]
        if len(files) < 2:
            raise UserError(
                f"of the {len(found)} photographs in data.source_images={folder} {len(files)} have {columns}x{rows} pixels or "
                f"more: one to train and one to validate on are needed; smaller scenes (data.height, data.width; "
                f"augment.size of endless ones) need less"
            )
        return files

    def _write_all(self, partial: Path) -> None:
        # What an interrupted attempt has written is whole and is kept.
        tasks = [task for task in self._tasks(partial) if not self._files(task)[-1].exists()]
        for folder in {task.folder for task in tasks}:
            for kind in (self._blur_key, "sharp", "recipe"):
                (folder / kind).mkdir(parents=True, exist_ok=True)
        self._make(tasks)
        partial.rename(self.folder)

    def train(self) -> list[Pair]:
        return [] if self._endless else pairs_of(self.folder / "train", ["scenes"], self._blur_key)

    def val(self) -> list[Pair]:
        return pairs_of(self.folder / "train", ["validation"], self._blur_key)

    def tests(self) -> dict[str, list[Pair]]:
        return {"photographs": pairs_of(self.folder / "test", sorted(PHOTOGRAPHS), self._blur_key)}

    @property
    def listed(self) -> bool:
        return not self._endless

    def training(self, augmentations: Mapping[int, Augmentation], *, repeat: int, seed: int) -> Training:
        """Crops of the pairs on disk; or, without end, as many scenes of the crops' size, which aren't augmented."""
        if not self._endless:
            return super().training(augmentations, repeat=repeat, seed=seed)
        for size in augmentations:
            if size <= math.ceil(self._scenes.defocus[1]):
                raise UserError(f"augment.size={size} is too small for data.scenes.defocus={self._scenes.defocus}")
            if self._source_images is not None:
                self._large_enough(self._source_images, size, size)
        ground = self._grounds.get(_STREAMS["train"], self._leaves)
        scenes = EndlessScenes(self._scenes, ground=ground, count=self._train, seed=seed)
        return Training(scenes, [self._train * repeat], [1.0], finish=scenes.finish)

    def _tasks(self, root: Path) -> Iterator[_Task]:
        made = 0 if self._endless else self._train
        for split, folder, count in (("train", "scenes", made), ("val", "validation", self._val)):
            for i in range(count):
                yield _Task(root / "train" / folder, i, (self._seed, _STREAMS[split], i), None)
        for p, photograph in enumerate(PHOTOGRAPHS):
            for i in range(self._blurs):
                yield _Task(root / "test" / photograph, i, (self._seed, _STREAMS["test"], p, i), photograph)

    def _make(self, tasks: list[_Task]) -> None:
        said = f"Making {len(tasks)} synthetic pairs"
        if len(tasks) * math.prod(self._size) <= _FEW:
            for task in track(tasks, said):
                self._write([task])
            return
        workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 16)
        chunks = [tasks[i : i + 8] for i in range(0, len(tasks), 8)]
        # Spawned, not forked: this process may already run torch's threads.
        with ProcessPoolExecutor(workers, get_context("spawn"), cv2.setNumThreads, (1,)) as pool:
            done = pool.map(self._write, chunks)
            for _ in track(done, said, total=len(chunks)):
                pass

    def _write(self, tasks: list[_Task]) -> None:
        for task in tasks:
            rng = np.random.default_rng(task.stream)
            if task.photograph is None:
                ground = self._grounds.get(task.stream[1], self._leaves)
                blurred, sharp, recipe = self._scenes.scene_pair(rng, *self._size, ground=ground)
            else:
                blurred, sharp, recipe = self._test_photographs.photo_pair(rng, PHOTOGRAPHS[task.photograph]())
            blurred_file, sharp_file, recipe_file = self._files(task)
            write_png(blurred_file, blurred)
            write_png(sharp_file, sharp)
            recipe_file.write_text(json.dumps(asdict(recipe)) + "\n")

    def _files(self, task: _Task) -> tuple[Path, Path, Path]:
        """Blurred, sharp and, written last, the recipe."""
        name = f"{task.number:06d}"
        return (
            task.folder / self._blur_key / f"{name}.png",
            task.folder / "sharp" / f"{name}.png",
            task.folder / "recipe" / f"{name}.json",
        )
