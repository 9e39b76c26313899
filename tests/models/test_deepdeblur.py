"""DeepDeblur."""

import torch

from deblurlab.models import DeepDeblur


def test_deepdeblur_passes_the_coarse_result_to_the_finer_scale() -> None:
    torch.manual_seed(0)
    model = DeepDeblur(width=4, blocks=1).train()
    restored = model(torch.rand(1, 3, 32, 32))
    restored[-1].sum().backward()
    assert model.stems[2].weight.grad.any()  # the coarsest network contributes to the finest result
    assert [scale.shape[-1] for scale in restored] == [8, 16, 32]
