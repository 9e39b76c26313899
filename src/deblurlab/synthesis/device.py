"""The exposure of a batch of scenes in torch, on any device: the formulas of `exposure` and `sensor`, in floats."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurlab.synthesis.exposure import LINEAR_MAX, LINEAR_TO_SRGB, SRGB_TO_LINEAR, disc
from deblurlab.synthesis.jpeg import compressed
from deblurlab.synthesis.pairs import Scene, Synthesis
from deblurlab.synthesis.sensor import NORMAL

_GOLDEN, _FIRST, _SECOND = (
    n - (1 << 64) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)  # as signed numbers


class Scenes(NamedTuple):
    """`B` scenes with up to `N` objects and `T` moments, for square frames: what a loader hands over."""

    ground: Tensor
    """`(B, 3, rows, columns)` uint8."""
    masks: Tensor
    """`(B, N, rows, columns)` uint8; empty where there is no object."""
    rolls: Tensor
    """`(B, N)` int64."""
    paths: Tensor
    """`(B, 1 + N, T, 3)`: pixels, pixels, radians."""
    discs: Tensor
    """`(B, k, k)`, summing to 1: what a point becomes out of focus."""
    noise: Tensor
    """`(B, 2)`: read and shot noise."""
    quality: Tensor
    """`(B,)` int64, of the JPEG file if there is one."""
    seed: Tensor
    """`(B,)` int64, of the noise."""


def prepared(scene: Scene, synthesis: Synthesis, *, seed: int) -> Scenes:
    """An even scene as tensors without the first dimension."""
    most, moments = synthesis.objects[1], len(scene.paths[0])
    masks = np.zeros((most, *scene.ground.shape[:2]), np.uint8)
    rolls, paths = np.zeros(most, np.int64), np.zeros((1 + most, moments, 3), np.float32)
    for i, (mask, roll) in enumerate(zip(scene.masks, scene.rolls, strict=True)):
        masks[i], rolls[i] = mask, roll
    paths[: len(scene.paths)] = scene.paths
    recipe, reach = scene.recipe, int(np.ceil(synthesis.defocus[1]))
    spread = disc(recipe.defocus) if recipe.defocus else np.ones((1, 1))
    spread = np.pad(spread / spread.sum(), reach - spread.shape[0] // 2)
    return Scenes(
        torch.from_numpy(np.ascontiguousarray(scene.ground.transpose(2, 0, 1))),
        torch.from_numpy(masks),
        torch.from_numpy(rolls),
        torch.from_numpy(paths),
        torch.from_numpy(spread.astype(np.float32)),
        torch.tensor([recipe.read_noise, recipe.shot_noise], dtype=torch.float32),
        torch.tensor(recipe.jpeg_quality or 100),
        torch.tensor(seed),
    )


@torch.no_grad()
def photograph(scenes: Scenes, synthesis: Synthesis) -> tuple[Tensor, Tensor]:
    """Blurred and sharp pictures, `(B, 3, side, side)` uint8, of scenes that were drawn from `synthesis`.

    As `Synthesis.scene_pair` makes them, but that positions aren't rounded to 1/32 pixel and the noise is another. A
    function of the scenes alone; devices differ by the rounding of floats.
    """
    side, as_codes = synthesis.side(scenes.ground.shape[-1]), synthesis.blur_key == "blur"
    light = _table(SRGB_TO_LINEAR, scenes.ground.device)[scenes.ground.long()]
    objects = _objects(light, scenes)
    moments = scenes.paths.shape[2]
    mean = torch.zeros(len(light), 3, side, side, device=light.device)
    for t in range(moments):
        frame = _frame(light, objects, scenes.paths[:, :, t], side)
        mean += _codes(frame).float() if as_codes else frame
    mean /= moments
    if as_codes:
        mean = _table(SRGB_TO_LINEAR, light.device)[mean.round().long()]
    blurred = _codes(_noisy(_spread(mean, scenes.discs), scenes))
    if synthesis.jpeg_quality is not None:
        blurred = compressed(blurred, scenes.quality)
    sharp = _codes(_frame(light, objects, torch.zeros_like(scenes.paths[:, :, 0]), side))
    return blurred, sharp


def _objects(light: Tensor, scenes: Scenes) -> Tensor:
    """`(B, N, 4, rows, columns)`: the light of each object and its mask in [0, 1]."""
    columns = torch.arange(light.shape[-1], device=light.device)
    upside_down = light.flip(-2)
    rolled = []
    for n in range(scenes.masks.shape[1]):
        source = (columns - scenes.rolls[:, n, None]) % light.shape[-1]
        colours = upside_down.gather(-1, source[:, None, None].expand_as(upside_down))
        rolled.append(torch.cat([colours, scenes.masks[:, n, None] / 255], dim=1))
    return torch.stack(rolled, dim=1) if rolled else light.new_zeros(len(light), 0, 4, 1, 1)


def _frame(light: Tensor, objects: Tensor, places: Tensor, side: int) -> Tensor:
    """One moment: `(B, 3, side, side)`. `places` `(B, 1 + N, 3)`."""
    frame = _moved(light, places[:, 0], side)
    for n in range(objects.shape[1]):
        moved = _moved(objects[:, n], places[:, 1 + n], side)
        frame = torch.lerp(frame, moved[:, :3], moved[:, 3:])
    return frame


def _moved(layer: Tensor, place: Tensor, side: int) -> Tensor:
    """A layer moved by (x, y, angle), and the frame cut out of its middle."""
    x, y, angle = place.unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    rows, columns = layer.shape[-2] - 1, layer.shape[-1] - 1
    rotation = torch.stack([cos, sin, -sin, cos], dim=-1).view(-1, 2, 2) * (side - 1)
    shift = -2 * torch.stack([cos * x + sin * y, cos * y - sin * x], dim=-1)[..., None]
    scale = layer.new_tensor([columns, rows])[:, None]
    grid = F.affine_grid(torch.cat([rotation, shift], dim=-1) / scale, [len(layer), 1, side, side], align_corners=True)
    return F.grid_sample(layer, grid, padding_mode="reflection", align_corners=True)


def _spread(light: Tensor, discs: Tensor) -> Tensor:
    if discs.shape[-1] == 1:
        return light
    reach = discs.shape[-1] // 2
    wide = F.pad(light, [reach] * 4, mode="reflect").flatten(0, 1)[None]
    kernels = discs.repeat_interleave(3, dim=0)[:, None]
    return F.conv2d(wide, kernels, groups=len(kernels))[0].view_as(light)


def _noisy(light: Tensor, scenes: Scenes) -> Tensor:
    """Read and shot noise, as `sensor.add_noise`, from numbers that are a hash of seed and place: the same on every
    device."""
    count = torch.arange(light[0].numel(), device=light.device)
    numbers = _mixed(scenes.seed[:, None] + count * _GOLDEN)
    normal = _table(NORMAL, light.device)[(numbers >> 52) & (len(NORMAL) - 1)].view_as(light) / 1024
    read, shot = (scenes.noise[:, i, None, None, None] for i in range(2))
    return light + (read**2 + shot**2 * light / LINEAR_MAX).sqrt() * LINEAR_MAX * normal


def _mixed(x: Tensor) -> Tensor:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    for shift, factor in ((30, _FIRST), (27, _SECOND), (31, 1)):
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return x


def _codes(light: Tensor) -> Tensor:
    """uint8."""
    return _table(LINEAR_TO_SRGB, light.device)[light.round().clamp(0, LINEAR_MAX).long()]


_TABLES: dict[tuple[int, torch.device], Tensor] = {}


def _table(table: np.ndarray, device: torch.device) -> Tensor:
    """An integer table on a device: floats for light, bytes for codes."""
    key = id(table), device
    if key not in _TABLES:
        _TABLES[key] = torch.tensor(table, dtype=torch.uint8 if table.dtype == np.uint8 else torch.float32).to(device)
    return _TABLES[key]
