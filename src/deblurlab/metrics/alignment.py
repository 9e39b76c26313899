"""Alignment of a restored image with a reference that was taken by another camera."""

import cv2
import numpy as np
import torch
from torch import Tensor


def align_to_reference(restored: Tensor, sharp: Tensor) -> tuple[Tensor, Tensor]:
    """Scale the brightness of a restored image and warp it by a homography to match its reference.

    The brightness factor is the least-squares solution. The homography maximises the enhanced correlation coefficient
    (ECC: Evangelidis and Psarakis, IEEE TPAMI 2008). This is the protocol of RealBlur (Rim et al., ECCV 2020,
    section 5) and RSBlur.

    Args:
        restored: Levels `(1, 3, H, W)` in 0..255.
        sharp: The reference, of the same shape and range.

    Returns:
        The warped image, and a mask `(1, 1, H, W)`: 1 where the image is defined, else 0.

    Raises:
        ValueError: The images are too different to be aligned.

    Example:
        >>> align_to_reference(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))
        Traceback (most recent call last):
            ...
        ValueError: the restored image can't be aligned with the sharp one: their correlation is too low
    """
    scale = (restored * sharp).sum() / restored.square().sum().clamp(min=1e-12)
    moving, fixed = ((image[0].cpu().permute(1, 2, 0).numpy()) for image in (restored * scale, sharp))
    moving = np.clip(moving, 0, 255)
    grey = [cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY) for image in (fixed, moving)]
    whole_image = np.full(grey[0].shape, 255, np.uint8)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 0)
    try:
        _, homography = cv2.findTransformECC(
            grey[0], grey[1], np.eye(3, dtype=np.float32), cv2.MOTION_HOMOGRAPHY, criteria, whole_image, 5
        )
    except cv2.error as error:
        raise ValueError(
            "the restored image can't be aligned with the sharp one: their correlation is too low"
        ) from error
    height, width = fixed.shape[:2]
    warped = cv2.warpPerspective(
        moving, homography, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
    )
    mask = cv2.warpPerspective(
        np.ones((height, width)), homography, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    image = torch.from_numpy(np.clip(warped, 0, 255)).permute(2, 0, 1)[None]
    return image.contiguous(), torch.from_numpy(mask)[None, None]
