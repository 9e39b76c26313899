"""Restoring many files."""
