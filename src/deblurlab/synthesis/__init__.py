"""Synthetic blur: random scenes, motion, exposure and sensor, in NumPy and OpenCV.

All pixel arithmetic is on integers, so that a seed gives bit-identical images on every processor.
"""

from deblurlab.synthesis.pairs import ImageSource, Synthesis
from deblurlab.synthesis.parameters import BlurKey, SynthesisParameters

__all__ = ["BlurKey", "ImageSource", "Synthesis", "SynthesisParameters"]
