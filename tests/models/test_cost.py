"""Parameters and MACs of the architectures against published numbers."""

import math

import pytest
import torch

import originals
from deblurlab.config import instantiate
from deblurlab.models.cost import count_macs, count_parameters
from support import config, option_names

COUNTS = {
    "unet": 4_730_211,
    "unet_res_small": 1_183_923,
    "unet_res_fast": 4_884_268,
    "unet_res": 4_730_211,
    "unet_res_large": 29_224_467,
    "resnet": 11_378_179,  # DeblurGAN with two convolutions per block
    "fpn_mobilenet": 2_106_627,  # 3,312,707 with the backbone's unused end
    "fpn_inception": 35_840_099,  # 60,929,291 with the backbone's unused end
    "deepdeblur": 11_721_321,
    "srn": 6_881_251,  # the released colour model
    "nafnet_16": 4_347_827,
    "nafnet_32": 17_111_907,
    "nafnet_64": 67_888_835,
    "mimo_unet": 6_807_171,
    "mimo_unet_plus": 16_107_651,
    "restormer": 26_126_644,
}
GMACS = {
    "nafnet_16": 4.09, "nafnet_32": 15.96, "nafnet_64": 63.05, "resnet": 49.55, "deepdeblur": 335.95,
    "mimo_unet_plus": 150.66, "restormer": 154.88,
    "unet_res_small": 4.84, "unet_res_fast": 6.86, "unet_res": 19.24, "unet_res_large": 70.38,
}  # fmt: skip


def test_counts_belong_to_existing_models() -> None:
    assert COUNTS.keys() <= set(option_names("model"))


@pytest.mark.parametrize("name", COUNTS)
def test_number_of_parameters_and_macs(name: str) -> None:
    with torch.device("meta"):
        model = instantiate(config(f"model={name}").model)
    assert count_parameters(model) == COUNTS[name]
    if name in GMACS:
        assert count_macs(model) / 1e9 == pytest.approx(GMACS[name], abs=0.01)


@pytest.mark.parametrize(
    ("shapes", "count"),
    [(originals.deblurgan_v2_inception(), 60_929_291), (originals.deblurgan_v2_mobilenet(), 3_312_707)],
)
def test_parameters_of_the_original_files_with_the_unused_end(shapes: originals.Shapes, count: int) -> None:
    buffers, copy = ("running_mean", "running_var", "num_batches_tracked"), "fpn.enc"
    sizes = {n: math.prod(s) for n, s in shapes.items() if not n.endswith(buffers) and not n.startswith(copy)}
    assert sum(sizes.values()) == count
