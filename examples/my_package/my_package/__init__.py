"""One of each part that can be added to deblurlab from outside."""
