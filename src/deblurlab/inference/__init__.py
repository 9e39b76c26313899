"""Network inference: engines, tiling, image adapters, export."""
