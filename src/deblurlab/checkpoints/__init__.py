"""Checkpoints, releases and pretrained weights."""
