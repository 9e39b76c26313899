"""Names of the metrics: what they measure, and which direction is better. Imports nothing."""

DESCRIPTIONS = {
    "psnr": "RGB, in dB",
    "ssim": "per channel, Gaussian window 11x11 of sigma 1.5, valid area",
    "ssim_matlab_rgb": "RGB as a volume, Gaussian window 11x11x11 of sigma 1.5, borders replicated",
    "psnr_y": "Y of BT.601 (16..235), in dB",
    "ssim_y": "Y of BT.601 (16..235), Gaussian window 11x11 of sigma 1.5, valid area",
    "lpips_alex": "LPIPS 0.1 on AlexNet; lower is better",
    "lpips_vgg": "LPIPS 0.1 on VGG16; lower is better",
    "dists": "DISTS on VGG16; lower is better",
    "sharpness": "variance of the Laplacian of Y of BT.601 (16..235); no reference; noise raises it too",
}
"""Metric of `METRICS` -> its description, which is stored beside every number."""
LOWER_IS_BETTER = frozenset({"lpips_alex", "lpips_vgg", "dists", "kid"})
"""Metrics whose best value is the lowest."""
NO_REFERENCE = frozenset({"sharpness"})
"""Metrics that use only the restored image."""
