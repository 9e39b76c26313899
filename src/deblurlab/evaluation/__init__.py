"""Evaluation of restorers."""
