"""The table of models: sizes, costs, and what was published. docs/models.md is made by this script.

python benchmarks/models.py --write    # measures seconds per megapixel too: minutes
python benchmarks/models.py            # says whether docs/models.md is true of the models as they are, but for seconds
"""

import argparse
import re
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from hydra.utils import instantiate

from deblurlab import config
from deblurlab.models import Model
from deblurlab.models.cost import count_macs, count_parameters

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
SIZE = 384, 512


class Published(NamedTuple):
    """What is known of a model elsewhere."""

    method: str
    psnr_ssim: str = "-"
    """On GoPro's 1111 test pairs, and where it is printed."""
    licence: str = "-"
    """Of the original weights."""


PUBLISHED = {
    "unet": Published("the paper's generator without residual blocks"),
    "unet_res_small": Published("the paper's generator, width 16"),
    "unet_res_fast": Published("the paper's generator on squares of 2x2 pixels; the bundled model"),
    "unet_res": Published("the paper's generator"),
    "unet_res_large": Published("the paper's generator, width 48, deeper"),
    "resnet": Published(
        "DeblurGAN, CVPR 2018", "28.70 / 0.958 (paper; a structural similarity on wavelets)", "BSD 2-Clause"
    ),
    "resnet_9blocks": Published("CycleGAN, ICCV 2017: the layers of `resnet` without its sum"),
    "fpn_mobilenet": Published("DeblurGAN-v2, ICCV 2019", "28.17 / 0.925 (paper)", "BSD 2-Clause"),
    "fpn_inception": Published("DeblurGAN-v2, ICCV 2019", "29.55 / 0.934 (paper)", "BSD 2-Clause"),
    "deepdeblur": Published(
        "DeepDeblur, CVPR 2017", "29.23 / 0.916 (paper), 30.40 / 0.902 (README, on blur_gamma)", "MIT"
    ),
    "srn": Published("SRN-DeblurNet, CVPR 2018", "30.26 / 0.934 (paper, with the LSTM), 30.19 (README)", "MIT"),
    "nafnet_16": Published("NAFNet, ECCV 2022, for small budgets"),
    "nafnet_32": Published("NAFNet, ECCV 2022", "32.87 / 0.9606 (README)", "MIT"),
    "nafnet_64": Published("NAFNet, ECCV 2022", "33.71 / 0.9668 (README)", "MIT"),
    "mimo_unet_plus": Published("MIMO-UNet+, ICCV 2021", "32.45 / 0.957 (README)", "none given"),
    "restormer": Published("Restormer, CVPR 2022", "32.92 / 0.961 (paper)", "Academic Public, non-commercial"),
}
HEAD = f"""# Models

Made by `python benchmarks/models.py --write`; a test keeps every column but the seconds true.

MACs are multiply-accumulates of convolutions and matrix products for one image of 256x256. Seconds per megapixel are
the median of three runs after one, float32, channels_last, batch 1, {SIZE[1]}x{SIZE[0]} pixels, on the processor
named below: good for comparing the rows with one another. Published figures (PSNR in dB / SSIM on GoPro's test set)
come from different protocols, above all of SSIM, and aren't measured here; the licence is that of the original
project's weights, not of this code.

`deblurlab weights convert FILE --model NAME -o FOLDER` brings an original project's weights into this one's form, for
every row with a licence but `srn`, whose weights are TensorFlow's.

| model | method | parameters | GMACs | s / megapixel | GoPro, published | licence of the original weights |
|---|---|---|---|---|---|---|
"""
NOTES = """
- `resnet` has the two convolutions per block of the paper; the published code lost one in 2019 (6,067,459
  parameters).
- `fpn_mobilenet` and `fpn_inception` hold what their forward pass uses; the original files hold the backbones' unused
  ends too (3,312,707 and 60,930,828).
- `srn` is the released colour model; `model.recurrent=true` adds the paper's convolutional LSTM (1,180,160
  parameters).
- `nafnet_*` take their channel attention's means over windows of 384 pixels when they evaluate (`model.window`), 1.5
  times the crops they were trained on.
- Models with statistics of the whole image (`resnet`, `fpn_*`: instance norm; `restormer`: attention over channels;
  `nafnet_*` with `model.window=null`) restore a part of an image otherwise than the whole.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="measure and write the page")
    arguments = parser.parse_args()
    if arguments.write:
        rows = "".join(row(name, seconds=seconds_per_megapixel(build(name))) for name in PUBLISHED)
        machine = f"{torch.get_num_threads()} threads, torch {torch.__version__.split('+')[0]}"
        PAGE.write_text(HEAD + rows + NOTES + f"\nSeconds were measured on {processor()}, {machine}.\n")
    elif differences := untrue():
        sys.exit("docs/models.md isn't true; python benchmarks/models.py --write\n" + "\n".join(differences))


def untrue() -> list[str]:
    """What the page says of the models and isn't so; and the models that it lacks."""
    page = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    expected = [row(name, seconds=None) for name in config.options("model")]
    return sorted({blank(line) for line in page} ^ {blank(line.rstrip("\n")) for line in expected})


def row(name: str, *, seconds: float | None) -> str:
    """A line of the table."""
    model, known = build(name), PUBLISHED[name]
    spent = "" if seconds is None else f"{seconds:.2g}" if seconds < 10 else f"{seconds:.0f}"
    cells = [
        f"`{name}`", known.method, f"{count_parameters(model):,}", f"{count_macs(model) / 1e9:.2f}", spent, known.psnr_ssim,
        known.licence,
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |\n"


def blank(line: str) -> str:
    """A line of the table without its seconds."""
    cells = line.split("|")
    return "|".join([*cells[:5], "", *cells[6:]])


def build(name: str) -> Model:
    return instantiate(config.compose(f"model={name}").model, _convert_="all").eval()


@torch.no_grad()
def seconds_per_megapixel(model: Model) -> float:
    model.to(memory_format=torch.channels_last)
    image = torch.rand(1, 3, *SIZE).to(memory_format=torch.channels_last)
    spent = []
    for _ in range(4):
        start = time.perf_counter()
        model(image)
        spent.append(time.perf_counter() - start)
    return statistics.median(spent[1:]) / (SIZE[0] * SIZE[1] / 1e6)


def processor() -> str:
    """Its name."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return found[1] if found else "an unnamed processor"


if __name__ == "__main__":
    main()
