"""Image files, large images and video."""
