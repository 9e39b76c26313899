"""Inference with trained networks: engines, tiling, export and bundled models."""
