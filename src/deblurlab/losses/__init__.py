"""Loss terms, one file per idea. A run's loss is their weighted sum."""

from deblurlab.losses.adv import Adv
from deblurlab.losses.base import AdversarialTerm, JudgedTerm, LossTerm
from deblurlab.losses.l1 import L1
from deblurlab.losses.mse import MSE
from deblurlab.losses.vgg import VGG

__all__ = ["L1", "MSE", "VGG", "Adv", "AdversarialTerm", "JudgedTerm", "LossTerm"]
