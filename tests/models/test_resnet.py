"""Generator of DeblurGAN."""

import torch

from deblurlab.models import ResNet


def test_deblurgan_blocks_have_two_convolutions_and_dropout() -> None:
    model = ResNet(width=4, blocks=2)
    assert all(block.conv1.weight.shape == block.conv2.weight.shape == (16, 16, 3, 3) for block in model.blocks)
    image = torch.rand(1, 3, 32, 32)
    assert not torch.equal(model.train()(image), model(image))
    assert torch.equal(model.eval()(image), model(image))
