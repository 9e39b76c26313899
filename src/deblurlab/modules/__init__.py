"""LightningModules: how networks are trained."""

from deblurlab.modules.restoration import PairedRestoration

__all__ = ["PairedRestoration"]
