"""Alignment before measuring, for sets whose sharp images were taken by another camera."""

import cv2
import numpy as np
import torch
from torch import Tensor


def aligned(restored: Tensor, sharp: Tensor) -> tuple[Tensor, Tensor]:
    """A restored image brought onto its sharp one: brightness scaled by least squares, then moved by the homography
    that maximises the correlation of both (ECC: Evangelidis and Psarakis, IEEE TPAMI 2008).

    The protocol of RealBlur (Rim et al., ECCV 2020, section 5) and RSBlur.

    Args:
        restored: Levels, `(1, 3, H, W)` in 0..255. sharp: The same.

    Returns:
        The moved image, and a mask `(1, 1, H, W)`: 1 where it has pixels.

    Raises:
        ValueError: The images have nothing in common by which to align them.
    """
    scale = (restored * sharp).sum() / restored.square().sum().clamp(min=1e-12)
    moving, fixed = ((image[0].cpu().permute(1, 2, 0).numpy()) for image in (restored * scale, sharp))
    moving = np.clip(moving, 0, 255)
    grey = [cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY) for image in (fixed, moving)]
    everywhere = np.full(grey[0].shape, 255, np.uint8)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 0)
    try:
        _, homography = cv2.findTransformECC(
            grey[0], grey[1], np.eye(3, dtype=np.float32), cv2.MOTION_HOMOGRAPHY, criteria, everywhere, 5
        )
    except cv2.error as error:
        raise ValueError(
            "the restored image can't be aligned with the sharp one: they have too little in common"
        ) from (error)
    height, width = fixed.shape[:2]
    moved = cv2.warpPerspective(
        moving, homography, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
    )
    seen = cv2.warpPerspective(
        np.ones((height, width)), homography, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    image = torch.from_numpy(np.clip(moved, 0, 255)).permute(2, 0, 1)[None]
    return image.contiguous(), torch.from_numpy(seen)[None, None]
