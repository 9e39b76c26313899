"""Options of a restoration on this machine."""

from dataclasses import dataclass
from pathlib import Path

from deblurlab.media.large_images import MAX_PIXELS


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `restore_files`."""

    output: Path
    """Folder, or file for one input."""
    shard: tuple[int, int] = (0, 1)
    """Index and number of the parts that the inputs are divided into."""
    side_by_side: bool = False
    """Write the blurred and the restored image next to each other."""
    overwrite: bool = False
    max_pixels: int = MAX_PIXELS
    fps_report: bool = False
    """Print the frames per second of each video."""
    verbosity: int = 0
    """-1: print failures only; 1: print a line per file too."""
