"""Train a deblurring network: `python train.py model=unet_res loss=l1+vgg+adv`."""

import sys

from deblurlab.cli.hydra_commands import train

if __name__ == "__main__":
    train(sys.argv[1:])
