"""Models against independent implementations of the published architectures.

Each published architecture is written as a plain function of its original state dict. A model with the renamed weights
must give the same output.
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import originals
from deblurlab.checkpoints.convert import rename_keys
from deblurlab.models import DeepDeblur, FPNInception, FPNMobileNet, MIMOUNetPlus, Model, NAFNet, ResNet, Restormer

State = dict[str, Tensor]


def _random(shapes: originals.Shapes) -> State:
    """Return random weights that keep activations bounded, with positive variances in running statistics."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        if name.endswith("running_var"):
            state[name] = values.abs() + 0.5
        elif name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif len(shape) == 1 and not name.endswith(("bias", "running_mean")):
            state[name] = 1 + 0.1 * values  # scale of a normalisation layer
        else:
            fan = max(1, values[0].numel()) if len(shape) == 4 else 10
            state[name] = values / fan**0.5
    return state


def _conv(state: State, name: str, x: Tensor, **options: int) -> Tensor:
    weight = state[f"{name}.weight"]
    padding = options.pop("padding", weight.shape[-1] // 2)
    return F.conv2d(x, weight, state.get(f"{name}.bias"), padding=padding, **options)


def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, correction=0)
    return (x - mean) / (variance + eps).sqrt() * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


def _instance_norm(x: Tensor) -> Tensor:
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, correction=0)
    return (x - mean) / (variance + 1e-5).sqrt()


def nafnet(state: State, image: Tensor) -> Tensor:
    def block(name: str, x: Tensor) -> Tensor:
        y = _layer_norm(x, state[f"{name}.norm1.weight"], state[f"{name}.norm1.bias"], 1e-6)
        y = _conv(state, f"{name}.conv2", _conv(state, f"{name}.conv1", y), groups=2 * x.shape[1])
        y = y[:, : x.shape[1]] * y[:, x.shape[1] :]
        y = _conv(state, f"{name}.conv3", y * _conv(state, f"{name}.sca.1", y.mean((2, 3), keepdim=True)))
        x = x + state[f"{name}.beta"] * y
        y = _conv(
            state, f"{name}.conv4", _layer_norm(x, state[f"{name}.norm2.weight"], state[f"{name}.norm2.bias"], 1e-6)
        )
        y = _conv(state, f"{name}.conv5", y[:, : x.shape[1]] * y[:, x.shape[1] :])
        return x + state[f"{name}.gamma"] * y

    x, skips = _conv(state, "intro", image), []
    for level, count in enumerate((1, 1, 1, 28)):
        for i in range(count):
            x = block(f"encoders.{level}.{i}", x)
        skips.append(x)
        x = _conv(state, f"downs.{level}", x, stride=2, padding=0)
    x = block("middle_blks.0", x)
    for level in range(4):
        x = F.pixel_shuffle(_conv(state, f"ups.{level}.0", x), 2) + skips[3 - level]
        x = block(f"decoders.{level}.0", x)
    return image + _conv(state, "ending", x)


def restormer(state: State, image: Tensor) -> Tensor:
    def block(name: str, x: Tensor) -> Tensor:
        def norm(n: int) -> Tensor:
            at = f"{name}.norm{n}.body"
            return _layer_norm(x, state[f"{at}.weight"], state[f"{at}.bias"], 1e-5)

        batch, channels, height, width = x.shape
        temperature = state[f"{name}.attn.temperature"]
        mixed = _conv(state, f"{name}.attn.qkv_dwconv", _conv(state, f"{name}.attn.qkv", norm(1)), groups=3 * channels)
        q, k, v = (m.reshape(batch, len(temperature), -1, height * width) for m in mixed.chunk(3, 1))
        q, k = (m / m.norm(dim=-1, keepdim=True) for m in (q, k))
        attention = (torch.einsum("bhcx,bhdx->bhcd", q, k) * temperature).softmax(-1)
        attended = torch.einsum("bhcd,bhdx->bhcx", attention, v).reshape(x.shape)
        x = x + _conv(state, f"{name}.attn.project_out", attended)
        y = _conv(state, f"{name}.ffn.project_in", norm(2))
        a, b = _conv(state, f"{name}.ffn.dwconv", y, groups=y.shape[1]).chunk(2, 1)
        return x + _conv(state, f"{name}.ffn.project_out", F.gelu(a) * b)

    def stage(name: str, count: int, x: Tensor) -> Tensor:
        for i in range(count):
            x = block(f"{name}.{i}", x)
        return x

    one = stage("encoder_level1", 4, _conv(state, "patch_embed.proj", image))
    two = stage("encoder_level2", 6, F.pixel_unshuffle(_conv(state, "down1_2.body.0", one), 2))
    three = stage("encoder_level3", 6, F.pixel_unshuffle(_conv(state, "down2_3.body.0", two), 2))
    x = stage("latent", 8, F.pixel_unshuffle(_conv(state, "down3_4.body.0", three), 2))
    x = torch.cat([F.pixel_shuffle(_conv(state, "up4_3.body.0", x), 2), three], 1)
    x = stage("decoder_level3", 6, _conv(state, "reduce_chan_level3", x))
    x = torch.cat([F.pixel_shuffle(_conv(state, "up3_2.body.0", x), 2), two], 1)
    x = stage("decoder_level2", 6, _conv(state, "reduce_chan_level2", x))
    x = torch.cat([F.pixel_shuffle(_conv(state, "up2_1.body.0", x), 2), one], 1)
    x = stage("refinement", 4, stage("decoder_level1", 4, x))
    return image + _conv(state, "output", x)


def mimo_unet_plus(state: State, image: Tensor) -> Tensor:
    def basic(name: str, x: Tensor, *, relu: bool = True, stride: int = 1) -> Tensor:
        y = _conv(state, f"{name}.main.0", x, stride=stride)
        return y.relu() if relu else y

    def up(name: str, x: Tensor) -> Tensor:
        at = f"{name}.main.0"
        return F.conv_transpose2d(x, state[f"{at}.weight"], state[f"{at}.bias"], stride=2, padding=1).relu()

    def stage(name: str, x: Tensor) -> Tensor:
        for i in range(20):
            at = f"{name}.layers.{i}.main"
            x = x + basic(f"{at}.1", basic(f"{at}.0", x), relu=False)
        return x

    def shallow(name: str, x: Tensor) -> Tensor:
        y = x
        for i in range(4):
            y = basic(f"{name}.main.{i}", y)
        return basic(f"{name}.conv", torch.cat([x, y], 1), relu=False)

    def fuse(name: str, *maps: Tensor) -> Tensor:
        return basic(f"{name}.conv.1", basic(f"{name}.conv.0", torch.cat(maps, 1)), relu=False)

    def attend(name: str, x: Tensor, y: Tensor) -> Tensor:
        return x + basic(f"{name}.merge", x * y, relu=False)

    half, quarter = F.interpolate(image, scale_factor=0.5), F.interpolate(image, scale_factor=0.25)
    one = stage("Encoder.0", basic("feat_extract.0", image))
    two = stage("Encoder.1", attend("FAM2", basic("feat_extract.1", one, stride=2), shallow("SCM2", half)))
    four = stage("Encoder.2", attend("FAM1", basic("feat_extract.2", two, stride=2), shallow("SCM1", quarter)))
    skip2 = fuse("AFFs.1", F.interpolate(one, scale_factor=0.5), two, F.interpolate(four, scale_factor=2))
    skip1 = fuse("AFFs.0", one, F.interpolate(two, scale_factor=2), F.interpolate(four, scale_factor=4))
    x = up("feat_extract.3", stage("Decoder.0", four))
    x = up("feat_extract.4", stage("Decoder.1", basic("Convs.0", torch.cat([x, skip2], 1))))
    x = stage("Decoder.2", basic("Convs.1", torch.cat([x, skip1], 1)))
    return image + basic("feat_extract.5", x, relu=False)


def deblurgan(state: State, image: Tensor) -> Tensor:
    def wide(name: str, x: Tensor, pad: int) -> Tensor:
        return _conv(state, name, F.pad(x, (pad,) * 4, "reflect"), padding=0)

    image = 2 * image - 1
    x = _instance_norm(wide("model.1", image, 3)).relu()
    for at in (4, 7):
        x = _instance_norm(_conv(state, f"model.{at}", x, stride=2)).relu()
    for at in range(10, 19):
        y = _instance_norm(wide(f"model.{at}.conv_block.1", x, 1)).relu()
        x = x + _instance_norm(wide(f"model.{at}.conv_block.6", y, 1))
    for at in (19, 22):
        weight, bias = state[f"model.{at}.weight"], state[f"model.{at}.bias"]
        x = _instance_norm(F.conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1)).relu()
    return (image + wide("model.26", x, 3).tanh() + 1) / 2


def deepdeblur(state: State, image: Tensor) -> Tensor:
    """Downsampling: a Gaussian of sigma 2/3 in a 7x7 window, then averages of 2x2 pixels."""
    weights = torch.exp(-(torch.arange(-3, 4, dtype=torch.float64) ** 2) / (2 * (2 / 3) ** 2))
    kernel = torch.outer(weights, weights).div(weights.sum() ** 2).expand(3, 1, 7, 7).to(image.dtype)
    pyramid = [255 * image - 127.5]
    for _ in range(2):
        blurred = F.conv2d(F.pad(pyramid[-1], (3,) * 4, "reflect"), kernel, groups=3)
        pyramid.append(F.avg_pool2d(blurred, 2))
    below = None
    for scale in (2, 1, 0):
        at = f"body_models.{scale}.body"
        x = pyramid[scale] if below is None else torch.cat([pyramid[scale], below], 1)
        x = _conv(state, f"{at}.0", x)
        for i in range(1, 20):
            x = x + _conv(state, f"{at}.{i}.body.2", _conv(state, f"{at}.{i}.body.0", x).relu())
        x = _conv(state, f"{at}.20", x)
        if scale:
            below = F.pixel_shuffle(_conv(state, f"conv_end_models.{scale}.uppath.0", x), 2)
    return (x + 127.5) / 255


def pyramid(maps: list[Tensor], padding: list[tuple[int, int]]) -> Callable[[State, Tensor], Tensor]:
    """Return DeblurGAN-v2 as a function of the backbone's feature maps."""

    def network(state: State, image: Tensor) -> Tensor:
        laterals = [
            F.pad(_conv(state, f"fpn.lateral{i}", m), (a, b, a, b), "reflect")
            for i, (m, (a, b)) in enumerate(zip(maps, padding, strict=True))
        ]

        def down(name: str, x: Tensor, coarser: Tensor) -> Tensor:
            return _instance_norm(_conv(state, name, x + F.interpolate(coarser, scale_factor=2))).relu()

        four = laterals[4]
        three = down("fpn.td1.0", laterals[3], four)
        two = down("fpn.td2.0", laterals[2], three)
        one = down("fpn.td3.0", laterals[1], two)
        heads = []
        for i, m in ((4, four), (3, three), (2, two), (1, one)):
            read = _conv(state, f"head{i}.block1", _conv(state, f"head{i}.block0", m).relu()).relu()
            heads.append(F.interpolate(read, size=one.shape[-2:]))
        x = _instance_norm(_conv(state, "smooth.0", torch.cat(heads, 1))).relu()
        x = F.interpolate(x, scale_factor=2) + laterals[0]
        x = F.interpolate(_instance_norm(_conv(state, "smooth2.0", x)).relu(), scale_factor=2)
        return (2 * image - 1 + _conv(state, "final", x).tanh() + 1) / 2

    return network


WITHOUT_BACKBONE: list[tuple[Callable[[], Model], originals.Shapes, Callable[[State, Tensor], Tensor], int]] = [
    (lambda: NAFNet(width=16), originals.nafnet(16), nafnet, 32),
    (Restormer, originals.restormer(), restormer, 16),
    (MIMOUNetPlus, originals.mimo_unet_plus(), mimo_unet_plus, 16),
    (ResNet, originals.deblurgan(), deblurgan, 24),
    (DeepDeblur, originals.deepdeblur(), deepdeblur, 24),
]


@pytest.mark.parametrize(
    ("build", "shapes", "oracle", "side"), WITHOUT_BACKBONE, ids=[o.__name__ for _, _, o, _ in WITHOUT_BACKBONE]
)
def test_model_equals_the_published_architecture(
    build: Callable[[], Model], shapes: originals.Shapes, oracle: Callable[[State, Tensor], Tensor], side: int
) -> None:
    state, model = {name: value.double() for name, value in _random(shapes).items()}, build().double().eval()
    model.load_state_dict(rename_keys(state, model))
    image = torch.rand(2, 3, side, side + 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        actual, expected = model(image), oracle({k: v.double() for k, v in state.items()}, image)
    assert (expected - image).abs().mean() > 1e-3
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("build", "shapes", "padding"),
    [
        (FPNMobileNet, originals.deblurgan_v2_mobilenet(), [(0, 0)] * 5),
        (FPNInception, originals.deblurgan_v2_inception(), [(0, 1), (1, 1), (1, 2), (1, 1), (1, 1)]),
    ],
    ids=["mobilenet", "inception"],
)
def test_feature_pyramid_equals_the_published_architecture(
    build: Callable[[], Model], shapes: originals.Shapes, padding: list[tuple[int, int]]
) -> None:
    """The backbones are those of torchvision and timm; this test starts from their five feature maps."""
    state, model = _random(shapes), build().eval()
    model.load_state_dict(rename_keys(state, model))
    image = torch.rand(1, 3, 128, 160, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = model.feature_maps(2 * image - 1)
        assert [m.shape[1] for m in maps] == list(model.channels)
        actual, expected = model(image), pyramid(maps, padding)(state, image)
    assert (expected - image).abs().mean() > 1e-3
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
