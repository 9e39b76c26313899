from .base import Discriminator as Discriminator
from .base import DiscriminatorOutput as DiscriminatorOutput
from .base import as_discriminator as as_discriminator
from .double import Double as Double
from .multiscale import Multiscale as Multiscale
from .patchgan import PatchGAN as PatchGAN
from .pixel import Pixel as Pixel
from .unet import UNet as UNet
