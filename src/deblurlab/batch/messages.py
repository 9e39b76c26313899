"""Messages of failures."""

from pathlib import Path

from deblurlab.errors import SizeError, UserError, first_sentence
from deblurlab.media.video import content_error


def failure_message(source: str | Path, error: Exception) -> str:
    """Return the message for an image or video that can't be restored."""
    if isinstance(source, Path) and (message := content_error(source)):
        return message
    if isinstance(error, UserError) and not isinstance(error, SizeError):
        return str(error)
    cause = "out of memory: use a smaller --tile" if isinstance(error, MemoryError) else first_sentence(error)
    return f"{source} can't be restored: {cause}"
