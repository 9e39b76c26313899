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
    """`(B,)` int64, of the JPEG file; 101 if there is none."""
    as_codes: Tensor
    """`(B,)` bool: sRGB codes are averaged, not light."""
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
        torch.tensor(101 if recipe.jpeg_quality is None else recipe.jpeg_quality),
        torch.tensor(recipe.blur_key == "blur"),
        torch.tensor(seed),
    )


@torch.no_grad()
def photograph(scenes: Scenes, synthesis: Synthesis) -> tuple[Tensor, Tensor]:
    """Blurred and sharp pictures, `(B, 3, side, side)` uint8, of scenes that were drawn from `synthesis`.

    As `Synthesis.scene_pair` makes them, but that positions aren't rounded to 1/32 pixel and the noise is another. A
    function of the scenes alone; devices differ by the rounding of floats.
    """
    side, as_codes = synthesis.side(scenes.ground.shape[-1]), scenes.as_codes[:, None, None, None]
    layers = _layers(_table(SRGB_TO_LINEAR, scenes.ground.device)[scenes.ground.long()], scenes)
    ways = _ways(scenes.paths, layers.shape[-2:], side)
    moments = ways.shape[2]
    mean = torch.zeros(len(layers), 3, side, side, device=layers.device)
    for t in range(moments):
        frame = _frame(layers, ways[:, :, t], side)
        if synthesis.blur_key != "blur_gamma":
            frame = torch.where(as_codes, _codes(frame), frame)
        mean += frame
    mean /= moments
    mean = torch.where(as_codes, _table(SRGB_TO_LINEAR, mean.device)[mean.round().clamp(0, 255).long()], mean)
    blurred = _codes(_noisy(_spread(mean, scenes.discs), scenes))
    if synthesis.jpeg_quality is not None:
        blurred = torch.where(scenes.quality[:, None, None, None] > 100, blurred, compressed(blurred, scenes.quality))
    at_rest = _ways(torch.zeros_like(scenes.paths[:, :, :1]), layers.shape[-2:], side)
    sharp = _codes(_frame(layers, at_rest[:, :, 0], side))
    return blurred, sharp


def _layers(light: Tensor, scenes: Scenes) -> Tensor:
    """`(B, 1 + N, 4, rows, columns)`: the light of the ground and of each object, and its mask in [0, 1]."""
    columns = torch.arange(light.shape[-1], device=light.device)
    upside_down = light.flip(-2)
    layers = [torch.cat([light, torch.ones_like(light[:, :1])], dim=1)]
    for n in range(scenes.masks.shape[1]):
        source = (columns - scenes.rolls[:, n, None]) % light.shape[-1]
        colours = upside_down.gather(-1, source[:, None, None].expand_as(upside_down))
        layers.append(torch.cat([colours, scenes.masks[:, n, None] / 255], dim=1))
    return torch.stack(layers, dim=1)


def _ways(paths: Tensor, size: torch.Size, side: int) -> Tensor:
    """`(B, 1 + N, T, 2, 3)`: where a frame of `side` pixels finds its colours in layers of `size` that are moved along
    these paths, `(B, 1 + N, T, 3)`, with the frame in their middle. In `grid_sample`'s units."""
    x, y, angle = paths.unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack([cos, sin, -sin, cos], dim=-1).view(*x.shape, 2, 2) * (side - 1)
    shift = -2 * torch.stack([cos * x + sin * y, cos * y - sin * x], dim=-1)[..., None]
    scale = paths.new_tensor([size[1] - 1, size[0] - 1])[:, None]
    return torch.cat([rotation, shift], dim=-1) / scale


def _frame(layers: Tensor, ways: Tensor, side: int) -> Tensor:
    """One moment: `(B, 3, side, side)`. `ways` `(B, 1 + N, 2, 3)`."""
    moved = layers.flatten(0, 1)
    grid = F.affine_grid(ways.flatten(0, 1), [len(moved), 1, side, side], align_corners=True)
    moved = F.grid_sample(moved, grid, padding_mode="reflection", align_corners=True).view(
        *layers.shape[:3], side, side
    )
    frame = moved[:, 0, :3]
    for n in range(1, layers.shape[1]):
        frame = torch.lerp(frame, moved[:, n, :3], moved[:, n, 3:])
    return frame


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
