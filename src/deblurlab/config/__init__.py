"""Hydra configuration: search path, sum expressions, resolvers."""
