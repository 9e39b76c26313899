"""Exposure and sensor for batches of scenes in torch, on any device, in floating point."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurlab.synthesis.exposure import HIGHLIGHT_RAMP, LINEAR_MAX, LINEAR_TO_SRGB, SRGB_TO_LINEAR, disc_weights
from deblurlab.synthesis.jpeg import simulate_jpeg
from deblurlab.synthesis.pairs import Scene, Synthesis
from deblurlab.synthesis.sensor import NORMAL

_NO_JPEG = 101
# Constants of SplitMix64 as signed 64-bit integers.
_INCREMENT, _FACTOR_1, _FACTOR_2 = (n - (1 << 64) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class SceneBatch(NamedTuple):
    """Batch of B scenes with up to N objects and T time steps, for square frames."""

    background: Tensor
    """`(B, 3, rows, columns)` uint8."""
    masks: Tensor
    """`(B, N, rows, columns)` uint8; zero for missing objects."""
    rolls: Tensor
    """`(B, N)` int64."""
    trajectories: Tensor
    """`(B, 1 + N, T, 3)`: x and y in pixels, rotation in radians."""
    discs: Tensor
    """`(B, k, k)` defocus psf, sum 1."""
    noise: Tensor
    """`(B, 2)`: read and shot noise."""
    quality: Tensor
    """`(B,)` int64 JPEG quality; 101 for no compression."""
    highlights: Tensor
    """`(B,)` light beyond white, in multiples of white."""
    average_srgb: Tensor
    """`(B,)` bool: sRGB code values are averaged instead of linear light."""
    seed: Tensor
    """`(B,)` int64 seed of the noise."""


def scene_to_tensors(scene: Scene, synthesis: Synthesis, *, seed: int) -> SceneBatch:
    """Convert a batchable scene to tensors without the batch dimension."""
    max_objects, steps = synthesis.objects[1], len(scene.trajectories[0])
    masks = np.zeros((max_objects, *scene.background.shape[:2]), np.uint8)
    rolls, trajectories = np.zeros(max_objects, np.int64), np.zeros((1 + max_objects, steps, 3), np.float32)
    for i, (mask, roll) in enumerate(zip(scene.masks, scene.rolls, strict=True)):
        masks[i], rolls[i] = mask, roll
    trajectories[: len(scene.trajectories)] = scene.trajectories
    parameters, max_radius = scene.parameters, int(np.ceil(synthesis.defocus[1]))
    disc = disc_weights(parameters.defocus) if parameters.defocus else np.ones((1, 1))
    disc = np.pad(disc / disc.sum(), max_radius - disc.shape[0] // 2)
    return SceneBatch(
        torch.from_numpy(np.ascontiguousarray(scene.background.transpose(2, 0, 1))),
        torch.from_numpy(masks),
        torch.from_numpy(rolls),
        torch.from_numpy(trajectories),
        torch.from_numpy(disc.astype(np.float32)),
        torch.tensor([parameters.read_noise, parameters.shot_noise], dtype=torch.float32),
        torch.tensor(_NO_JPEG if parameters.jpeg_quality is None else parameters.jpeg_quality),
        torch.tensor(parameters.highlights, dtype=torch.float32),
        torch.tensor(parameters.blur_key == "blur"),
        torch.tensor(seed),
    )


@torch.no_grad()
def render_batch(scenes: SceneBatch, synthesis: Synthesis) -> tuple[Tensor, Tensor]:
    """Return blurred and sharp images, `(B, 3, side, side)` uint8, of scenes drawn from `synthesis`.

    The same model as `Synthesis.scene_pair`, but positions aren't rounded to 1/32 pixel and the noise has other random
    numbers. The result is a function of the scenes; devices differ by floating-point rounding.
    """
    side, average_srgb = synthesis.frame_side(scenes.background.shape[-1]), scenes.average_srgb[:, None, None, None]
    layers = _build_layers(_decode_srgb(scenes.background, scenes.highlights), scenes)
    transforms = _sampling_transforms(scenes.trajectories, layers.shape[-2:], side)
    steps = transforms.shape[2]
    mean = torch.zeros(len(layers), 3, side, side, device=layers.device)
    for t in range(steps):
        frame = _render_frame(layers, transforms[:, :, t], side)
        if synthesis.blur_key != "blur_gamma":
            frame = torch.where(average_srgb, _encode_srgb(frame), frame)
        mean += frame
    mean /= steps
    mean = torch.where(average_srgb, _table(SRGB_TO_LINEAR, mean.device)[mean.round().clamp(0, 255).long()], mean)
    blurred = _encode_srgb(_add_noise(_blur_defocus(mean, scenes.discs), scenes))
    if synthesis.jpeg_quality is not None:
        compressed = simulate_jpeg(blurred, scenes.quality)
        blurred = torch.where(scenes.quality[:, None, None, None] > 100, blurred, compressed)
    static = _sampling_transforms(torch.zeros_like(scenes.trajectories[:, :, :1]), layers.shape[-2:], side)
    sharp = _encode_srgb(_render_frame(layers, static[:, :, 0], side))
    return blurred, sharp


def _build_layers(light: Tensor, scenes: SceneBatch) -> Tensor:
    """Return linear light and mask in [0, 1] of the background and each object, `(B, 1 + N, 4, rows, columns)`."""
    columns = torch.arange(light.shape[-1], device=light.device)
    flipped = light.flip(-2)
    layers = [torch.cat([light, torch.ones_like(light[:, :1])], dim=1)]
    for n in range(scenes.masks.shape[1]):
        source = (columns - scenes.rolls[:, n, None]) % light.shape[-1]
        colours = flipped.gather(-1, source[:, None, None].expand_as(flipped))
        layers.append(torch.cat([colours, scenes.masks[:, n, None] / 255], dim=1))
    return torch.stack(layers, dim=1)


def _sampling_transforms(trajectories: Tensor, size: torch.Size, side: int) -> Tensor:
    """Return the affine transforms from a frame of `side` pixels to layers of `size` that move along trajectories.

    `(B, 1 + N, T, 3)` -> `(B, 1 + N, T, 2, 3)`, as `affine_grid` expects them; the frame is at the layers' centre.
    """
    x, y, angle = trajectories.unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack([cos, sin, -sin, cos], dim=-1).view(*x.shape, 2, 2) * (side - 1)
    shift = -2 * torch.stack([cos * x + sin * y, cos * y - sin * x], dim=-1)[..., None]
    scale = trajectories.new_tensor([size[1] - 1, size[0] - 1])[:, None]
    return torch.cat([rotation, shift], dim=-1) / scale


def _render_frame(layers: Tensor, transforms: Tensor, side: int) -> Tensor:
    """Return linear light at one time, `(B, 3, side, side)`, with transforms `(B, 1 + N, 2, 3)`."""
    flat = layers.flatten(0, 1)
    grid = F.affine_grid(transforms.flatten(0, 1), [len(flat), 1, side, side], align_corners=True)
    sampled = F.grid_sample(flat, grid, padding_mode="reflection", align_corners=True)
    moved = sampled.view(*layers.shape[:3], side, side)
    frame = moved[:, 0, :3]
    for n in range(1, layers.shape[1]):
        frame = torch.lerp(frame, moved[:, n, :3], moved[:, n, 3:])
    return frame


def _blur_defocus(light: Tensor, discs: Tensor) -> Tensor:
    """Convolve every image with its own disc; the border is reflected."""
    if discs.shape[-1] == 1:
        return light
    radius = discs.shape[-1] // 2
    padded = F.pad(light, [radius] * 4, mode="reflect").flatten(0, 1)[None]
    kernels = discs.repeat_interleave(3, dim=0)[:, None]
    return F.conv2d(padded, kernels, groups=len(kernels))[0].view_as(light)


def _add_noise(light: Tensor, scenes: SceneBatch) -> Tensor:
    """Add read and shot noise as `sensor.add_noise`; random numbers are a hash of seed and pixel on every device."""
    index = torch.arange(light[0].numel(), device=light.device)
    numbers = _splitmix64(scenes.seed[:, None] + index * _INCREMENT)
    normal = _table(NORMAL, light.device)[(numbers >> 52) & (len(NORMAL) - 1)].view_as(light) / 1024
    read, shot = (scenes.noise[:, i, None, None, None] for i in range(2))
    return light + (read**2 + shot**2 * light / LINEAR_MAX).sqrt() * LINEAR_MAX * normal


def _splitmix64(x: Tensor) -> Tensor:
    """Apply the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    for shift, factor in ((30, _FACTOR_1), (27, _FACTOR_2), (31, 1)):
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return x


def _decode_srgb(images: Tensor, highlights: Tensor) -> Tensor:
    """Convert uint8 sRGB to linear light as `exposure.decode_srgb`, without rounding."""
    light = _table(SRGB_TO_LINEAR, images.device)[images.long()]
    ramp = _table(HIGHLIGHT_RAMP, images.device)[images.amax(dim=1, keepdim=True).long()]
    return light * (1 + highlights[:, None, None, None] * ramp)


def _encode_srgb(light: Tensor) -> Tensor:
    """Convert linear light to uint8 sRGB."""
    return _table(LINEAR_TO_SRGB, light.device)[light.round().clamp(0, LINEAR_MAX).long()]


_TABLES: dict[tuple[int, torch.device], Tensor] = {}


def _table(table: np.ndarray, device: torch.device) -> Tensor:
    """Return a lookup table on a device, cached: uint8 tables as uint8, others as float32."""
    key = id(table), device
    if key not in _TABLES:
        _TABLES[key] = torch.tensor(table, dtype=torch.uint8 if table.dtype == np.uint8 else torch.float32).to(device)
    return _TABLES[key]
