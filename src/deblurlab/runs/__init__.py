"""Run folders, atomic file writes, storage and the environment."""
