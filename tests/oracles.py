"""Published architectures as plain functions of their original state dicts and of images in [0, 1]."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor

import originals

State = dict[str, Tensor]


def random_state(shapes: originals.Shapes) -> State:
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
            outputs = shape[-1] if name.endswith("/weights") else shape[0] if shape else 1  # TensorFlow's come last
            fan = values.numel() / outputs if len(shape) == 4 else 10
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


def mimo_unet(state: State, image: Tensor) -> Tensor:
    def basic(name: str, x: Tensor, *, relu: bool = True, stride: int = 1) -> Tensor:
        y = _conv(state, f"{name}.main.0", x, stride=stride)
        return y.relu() if relu else y

    def up(name: str, x: Tensor) -> Tensor:
        at = f"{name}.main.0"
        return F.conv_transpose2d(x, state[f"{at}.weight"], state[f"{at}.bias"], stride=2, padding=1).relu()

    def stage(name: str, x: Tensor) -> Tensor:
        for i in range(sum(key.startswith(f"{name}.") for key in state) // 4):
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


def srn(state: State, image: Tensor) -> Tensor:
    """SRN-Deblur in TensorFlow 1: SAME padding, and bilinear resizing without half-pixel centres."""

    def same_conv(x: Tensor, weights: Tensor, stride: int) -> Tensor:
        kernel, ends = weights.shape[0], []
        for size in (x.shape[3], x.shape[2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            ends += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, ends), weights.permute(3, 2, 0, 1), stride=stride)

    def conv(name: str, x: Tensor, *, stride: int = 1, relu: bool = True) -> Tensor:
        y = same_conv(x, state[f"g_net/{name}/weights"], stride) + state[f"g_net/{name}/biases"].view(-1, 1, 1)
        return y.relu() if relu else y

    def transposed(name: str, x: Tensor) -> Tensor:
        """The gradient of a convolution with respect to its input."""
        weights = state[f"g_net/{name}/weights"]
        size = x.shape[0], weights.shape[2], 2 * x.shape[2], 2 * x.shape[3]
        y = torch.func.vjp(lambda fine: same_conv(fine, weights, 2), x.new_zeros(size))[1](x)[0]
        return (y + state[f"g_net/{name}/biases"].view(-1, 1, 1)).relu()

    def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
        for dim, length in enumerate(size, start=2):
            source = torch.arange(length, dtype=x.dtype) * (x.shape[dim] / length)
            low = source.floor().long()
            high = (low + 1).clamp(max=x.shape[dim] - 1)
            weight = (source - low).view(-1, *[1] * (3 - dim))
            x = x.index_select(dim, low) * (1 - weight) + x.index_select(dim, high) * weight
        return x

    def stage(names: list[str], x: Tensor) -> Tensor:
        for name in names:
            x = x + conv(f"{name}/conv2", conv(f"{name}/conv1", x), relu=False)
        return x

    height, width = image.shape[2:]
    prediction = image
    for scale in (4, 2, 1):
        size = height // scale, width // scale
        x = torch.cat([resize(image, size), resize(prediction, size)], 1)
        one = stage(["enc1_2", "enc1_3", "enc1_4"], conv("enc1_1", x))
        two = stage(["enc2_2", "enc2_3", "enc2_4"], conv("enc2_1", one, stride=2))
        x = stage(["enc3_2", "enc3_3", "enc3_4"], conv("enc3_1", two, stride=2))
        x = transposed("dec2_4", stage(["dec3_3", "dec3_2", "dec3_1"], x)) + two
        x = transposed("dec1_4", stage(["dec2_3", "dec2_2", "dec2_1"], x)) + one
        prediction = conv("dec1_0", stage(["dec1_3", "dec1_2", "dec1_1"], x), relu=False)
    return prediction


def deepdeblur(state: State, image: Tensor) -> Tensor:
    """Downsampling: SciPy's Gaussian of sigma 2/3, whose mode `reflect` repeats the edge, then means of 2x2 pixels."""
    pyramid = [255 * image - 127.5]
    for _ in range(2):
        smooth = gaussian_filter(pyramid[-1].numpy(), (0, 0, 2 / 3, 2 / 3), mode="reflect")
        pyramid.append(F.avg_pool2d(torch.from_numpy(smooth), 2))
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


def mobilenet(state: State, image: Tensor) -> list[Tensor]:
    """Return MobileNet-v2's feature maps in training mode of a batch of one image in [-1, 1]."""

    def norm(name: str, x: Tensor) -> Tensor:
        return _instance_norm(x) * state[f"{name}.weight"].view(-1, 1, 1) + state[f"{name}.bias"].view(-1, 1, 1)

    at = "fpn.features"
    x, number, maps = norm(f"{at}.0.1", _conv(state, f"{at}.0.0", image, stride=2)).clamp(0, 6), 0, []
    for expansion, count, stride in ((1, 1, 1), (6, 2, 2), (6, 3, 2), (6, 4, 2), (6, 3, 1), (6, 2, 2)):
        for i in range(count):
            number += 1
            y, layer, conv = x, 0, f"{at}.{number}.conv"
            if expansion > 1:
                y, layer = norm(f"{conv}.1", _conv(state, f"{conv}.0", y)).clamp(0, 6), 3
            y = _conv(state, f"{conv}.{layer}", y, stride=1 if i else stride, groups=y.shape[1])
            y = norm(f"{conv}.{layer + 1}", y).clamp(0, 6)
            y = norm(f"{conv}.{layer + 4}", _conv(state, f"{conv}.{layer + 3}", y))
            x = x + y if i else y
            maps += [x] if number in (1, 3, 6, 10, 15) else []
    return maps


def inception(state: State, image: Tensor) -> list[Tensor]:
    """Return the feature maps of timm's Inception-ResNet-v2 in training mode of a batch of one image in [-1, 1]."""
    import timm

    with torch.device("meta"):
        network = timm.create_model("inception_resnet_v2").train()
    prefix = "fpn.inception."
    # Copies, because training mode updates the running statistics.
    weights = {name.removeprefix(prefix): v.clone() for name, v in state.items() if name.startswith(prefix)}
    names = network.load_state_dict(weights, strict=False, assign=True)
    assert {name.partition(".")[0] for name in names.missing_keys} == {"classif"}
    x, maps = image, []
    for name, part in network.named_children():
        x = part(x)
        maps += [x] if name in ("conv2d_1a", "maxpool_3a", "maxpool_5a", "mixed_6a", "mixed_7a") else []
        if name == "mixed_7a":
            break
    return maps


def deblurgan_v2_mobilenet(state: State, image: Tensor) -> Tensor:
    """DeblurGAN-v2 in training mode, of a batch of one image in [0, 1]."""
    return pyramid(mobilenet(state, 2 * image - 1), [(0, 0)] * 5)(state, image)


def deblurgan_v2_inception(state: State, image: Tensor) -> Tensor:
    """DeblurGAN-v2 in training mode, of a batch of one image in [0, 1]."""
    return pyramid(inception(state, 2 * image - 1), [(0, 1), (1, 1), (1, 2), (1, 1), (1, 1)])(state, image)
