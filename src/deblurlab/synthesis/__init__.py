"""Blur made from nothing: scenes, motion, exposure and sensor. Plain NumPy and OpenCV.

All arithmetic on pixels is on integers, so that a seed means the same picture on every processor.
"""

from deblurlab.synthesis.pairs import BlurKey, Ground, Recipe, Synthesis

__all__ = ["BlurKey", "Ground", "Recipe", "Synthesis"]
