"""Names and shapes of the state dicts of original repositories, written down from the published architectures."""

from collections.abc import Iterator

Shapes = dict[str, tuple[int, ...]]


def _conv(
    name: str, inputs: int, outputs: int, kernel: int, *, bias: bool = True
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outputs, inputs, kernel, kernel)
    if bias:
        yield f"{name}.bias", (outputs,)


def _statistics(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.running_mean", (channels,)
    yield f"{name}.running_var", (channels,)
    yield f"{name}.num_batches_tracked", ()


def _batch_norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (channels,)
    yield f"{name}.bias", (channels,)
    yield from _statistics(name, channels)


def nafnet(width: int) -> Shapes:
    """Return the shapes of megvii-research/NAFNet: encoder 1-1-1-28, middle 1, decoder 1-1-1-1."""

    def block(name: str, c: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield from ((f"{name}.{p}", (1, c, 1, 1)) for p in ("beta", "gamma"))
        yield from ((f"{name}.norm{n}.{p}", (c,)) for n in (1, 2) for p in ("weight", "bias"))
        yield from _conv(f"{name}.conv1", c, 2 * c, 1)
        yield f"{name}.conv2.weight", (2 * c, 1, 3, 3)
        yield f"{name}.conv2.bias", (2 * c,)
        yield from _conv(f"{name}.conv3", c, c, 1)
        yield from _conv(f"{name}.sca.1", c, c, 1)
        yield from _conv(f"{name}.conv4", c, 2 * c, 1)
        yield from _conv(f"{name}.conv5", c, c, 1)

    shapes = dict([*_conv("intro", 3, width, 3), *_conv("ending", width, 3, 3)])
    for level, count in enumerate((1, 1, 1, 28)):
        c = width * 2**level
        for i in range(count):
            shapes |= block(f"encoders.{level}.{i}", c)
        shapes |= _conv(f"downs.{level}", c, 2 * c, 2)
        shapes |= block(f"decoders.{3 - level}.0", c)
        shapes |= _conv(f"ups.{3 - level}.0", 2 * c, 4 * c, 1, bias=False)
    return shapes | dict(block("middle_blks.0", 16 * width))


def restormer() -> Shapes:
    """Return the shapes of swz30/Restormer for motion deblurring."""

    def stage(name: str, c: int, heads: int, count: int) -> Shapes:
        shapes: Shapes = {}
        hidden = int(2.66 * c)
        for i in range(count):
            at = f"{name}.{i}"
            shapes |= {f"{at}.norm{n}.body.{p}": (c,) for n in (1, 2) for p in ("weight", "bias")}
            shapes |= {f"{at}.attn.temperature": (heads, 1, 1)}
            shapes |= _conv(f"{at}.attn.qkv", c, 3 * c, 1, bias=False)
            shapes |= {f"{at}.attn.qkv_dwconv.weight": (3 * c, 1, 3, 3)}
            shapes |= _conv(f"{at}.attn.project_out", c, c, 1, bias=False)
            shapes |= _conv(f"{at}.ffn.project_in", c, 2 * hidden, 1, bias=False)
            shapes |= {f"{at}.ffn.dwconv.weight": (2 * hidden, 1, 3, 3)}
            shapes |= _conv(f"{at}.ffn.project_out", hidden, c, 1, bias=False)
        return shapes

    shapes = dict([*_conv("patch_embed.proj", 3, 48, 3, bias=False), *_conv("output", 96, 3, 3, bias=False)])
    shapes |= stage("encoder_level1", 48, 1, 4) | stage("encoder_level2", 96, 2, 6) | stage("encoder_level3", 192, 4, 6)
    shapes |= stage("latent", 384, 8, 8)
    shapes |= stage("decoder_level3", 192, 4, 6) | stage("decoder_level2", 96, 2, 6) | stage("decoder_level1", 96, 1, 4)
    shapes |= stage("refinement", 96, 1, 4)
    for name, c in (("down1_2", 48), ("down2_3", 96), ("down3_4", 192)):
        shapes |= _conv(f"{name}.body.0", c, c // 2, 3, bias=False)
    for name, c in (("up4_3", 384), ("up3_2", 192), ("up2_1", 96)):
        shapes |= _conv(f"{name}.body.0", c, 2 * c, 3, bias=False)
    for name, c in (("reduce_chan_level3", 192), ("reduce_chan_level2", 96)):
        shapes |= _conv(name, 2 * c, c, 1, bias=False)
    return shapes


def mimo_unet(blocks: int) -> Shapes:
    """Return the shapes of chosj95/MIMO-UNet: MIMOUNet with 8 blocks, MIMOUNetPlus with 20."""
    layers: list[tuple[str, int, int, int]] = [
        ("feat_extract.0", 3, 32, 3), ("feat_extract.1", 32, 64, 3), ("feat_extract.2", 64, 128, 3),
        ("feat_extract.5", 32, 3, 3), ("Convs.0", 128, 64, 1), ("Convs.1", 64, 32, 1),
        ("ConvsOut.0", 128, 3, 3), ("ConvsOut.1", 64, 3, 3),
        ("AFFs.0.conv.0", 224, 32, 1), ("AFFs.0.conv.1", 32, 32, 3),
        ("AFFs.1.conv.0", 224, 64, 1), ("AFFs.1.conv.1", 64, 64, 3),
        ("FAM1.merge", 128, 128, 3), ("FAM2.merge", 64, 64, 3),
    ]  # fmt: skip
    for name, c in (("SCM1", 128), ("SCM2", 64)):
        layers += [
            (f"{name}.main.0", 3, c // 4, 3), (f"{name}.main.1", c // 4, c // 2, 1),
            (f"{name}.main.2", c // 2, c // 2, 3), (f"{name}.main.3", c // 2, c - 3, 1), (f"{name}.conv", c, c, 1),
        ]  # fmt: skip
    for side, widths in (("Encoder", (32, 64, 128)), ("Decoder", (128, 64, 32))):
        for level, c in enumerate(widths):
            layers += [(f"{side}.{level}.layers.{i}.main.{j}", c, c, 3) for i in range(blocks) for j in (0, 1)]
    shapes = {name: shape for layer in layers for name, shape in _conv(f"{layer[0]}.main.0", *layer[1:])}
    for i, c in ((3, 128), (4, 64)):  # transposed convolutions: input channels come first
        shapes |= {f"feat_extract.{i}.main.0.weight": (c, c // 2, 4, 4), f"feat_extract.{i}.main.0.bias": (c // 2,)}
    return shapes


def deblurgan(*, dropout: bool = True) -> Shapes:
    """Return the shapes of KupynOrest/DeblurGAN: nine blocks of two convolutions, instance norm with statistics."""
    second = 6 if dropout else 5
    shapes = dict([*_conv("model.1", 3, 64, 7), *_conv("model.4", 64, 128, 3), *_conv("model.7", 128, 256, 3)])
    shapes |= [*_statistics("model.2", 64), *_statistics("model.5", 128), *_statistics("model.8", 256)]
    for i in range(10, 19):
        for at in (1, second):
            shapes |= _conv(f"model.{i}.conv_block.{at}", 256, 256, 3)
            shapes |= _statistics(f"model.{i}.conv_block.{at + 1}", 256)
    for at, c in ((19, 256), (22, 128)):
        shapes |= {f"model.{at}.weight": (c, c // 2, 3, 3), f"model.{at}.bias": (c // 2,)}
        shapes |= _statistics(f"model.{at + 1}", c // 2)
    return shapes | dict(_conv("model.26", 64, 3, 7))


def srn() -> Shapes:
    """Return the shapes of the TensorFlow variables of jiangsutx/SRN-Deblur, model `color`, with Adam's state."""
    shapes: Shapes = {}

    def conv(name: str, kernel: int, *channels: int, bias: int) -> None:
        shapes[f"g_net/{name}/weights"] = kernel, kernel, *channels
        shapes[f"g_net/{name}/biases"] = (bias,)

    for level, inputs, outputs in ((1, 6, 32), (2, 32, 64), (3, 64, 128)):
        conv(f"enc{level}_1", 5, inputs, outputs, bias=outputs)
        for block in [f"enc{level}_{i}" for i in (2, 3, 4)] + [f"dec{level}_{i}" for i in (3, 2, 1)]:
            for i in (1, 2):
                conv(f"{block}/conv{i}", 5, outputs, outputs, bias=outputs)
    for level, inputs in ((2, 128), (1, 64)):  # transposed convolutions: output channels come first
        conv(f"dec{level}_4", 4, inputs // 2, inputs, bias=inputs // 2)
    conv("dec1_0", 5, 32, 3, bias=3)
    shapes |= {f"{name}/{slot}": shape for name, shape in shapes.items() for slot in ("Adam", "Adam_1")}
    return shapes | {"beta1_power": (), "beta2_power": (), "Variable": ()}


def deepdeblur() -> Shapes:
    """Return the shapes of SeungjunNah/DeepDeblur-PyTorch, MSResNet with 19 blocks."""
    shapes: Shapes = {}
    for scale, inputs in enumerate((6, 6, 3)):
        at = f"body_models.{scale}.body"
        shapes |= [*_conv(f"{at}.0", inputs, 64, 5), *_conv(f"{at}.20", 64, 3, 5)]
        for i in range(1, 20):
            shapes |= [*_conv(f"{at}.{i}.body.0", 64, 64, 5), *_conv(f"{at}.{i}.body.2", 64, 64, 5)]
    for scale in (1, 2):
        shapes |= _conv(f"conv_end_models.{scale}.uppath.0", 3, 12, 5)
    return shapes


def deblurgan_v2_mobilenet() -> Shapes:
    """Return the shapes of VITA-Group/DeblurGANv2, FPNMobileNet: the backbone is stored twice, its end is unused."""
    features = {f"0.{n}": s for n, s in [*_conv("0", 3, 32, 3, bias=False), *_batch_norm("1", 32)]}
    settings = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
    inputs, number = 32, 0
    for expansion, outputs, count in settings:
        for _ in range(count):
            number += 1
            hidden, at = inputs * expansion, f"{number}.conv"
            wide = [*_conv(f"{at}.0", inputs, hidden, 1, bias=False), *_batch_norm(f"{at}.1", hidden)]
            first = 3 if expansion > 1 else 0
            features |= wide if expansion > 1 else []
            features |= {f"{at}.{first}.weight": (hidden, 1, 3, 3)}
            features |= _batch_norm(f"{at}.{first + 1}", hidden)
            features |= _conv(f"{at}.{first + 3}", hidden, outputs, 1, bias=False)
            features |= _batch_norm(f"{at}.{first + 4}", outputs)
            inputs = outputs
    features |= {f"18.{n}": s for n, s in [*_conv("0", 320, 1280, 1, bias=False), *_batch_norm("1", 1280)]}
    shapes = {f"fpn.features.{name}": shape for name, shape in features.items()}
    for stage, blocks in enumerate((range(2), range(2, 4), range(4, 7), range(7, 11), range(11, 16))):
        for name, shape in features.items():
            number, _, rest = name.partition(".")  # type: ignore[assignment]
            if int(number) in blocks:
                shapes[f"fpn.enc{stage}.{int(number) - blocks[0]}.{rest}"] = shape
    return shapes | _pyramid(128, 64, (16, 24, 32, 64, 160))


def _pyramid(wide: int, width: int, channels: tuple[int, ...]) -> Shapes:
    shapes: Shapes = {}
    for i, c in enumerate(channels):
        shapes |= _conv(f"fpn.lateral{i}", c, wide if i else width, 1, bias=False)
    for i in (1, 2, 3):
        shapes |= [*_conv(f"fpn.td{i}.0", wide, wide, 3), *_statistics(f"fpn.td{i}.1", wide)]
    for i in (1, 2, 3, 4):
        shapes |= _conv(f"head{i}.block0", wide, width, 3, bias=False)
        shapes |= _conv(f"head{i}.block1", width, width, 3, bias=False)
    shapes |= [*_conv("smooth.0", 4 * width, width, 3), *_statistics("smooth.1", width)]
    shapes |= [*_conv("smooth2.0", width, width // 2, 3), *_statistics("smooth2.1", width // 2)]
    return shapes | dict(_conv("final", width // 2, 3, 3))


def deblurgan_v2_inception() -> Shapes:
    """Return the shapes of VITA-Group/DeblurGANv2, FPNInception: the backbone is stored twice, its end is unused."""
    layers: dict[str, tuple[int, int, int, int]] = {
        "conv2d_1a": (3, 32, 3, 3), "conv2d_2a": (32, 32, 3, 3), "conv2d_2b": (32, 64, 3, 3),
        "conv2d_3b": (64, 80, 1, 1), "conv2d_4a": (80, 192, 3, 3),
        "mixed_5b.branch0": (192, 96, 1, 1), "mixed_5b.branch1.0": (192, 48, 1, 1),
        "mixed_5b.branch1.1": (48, 64, 5, 5), "mixed_5b.branch2.0": (192, 64, 1, 1),
        "mixed_5b.branch2.1": (64, 96, 3, 3), "mixed_5b.branch2.2": (96, 96, 3, 3),
        "mixed_5b.branch3.1": (192, 64, 1, 1), "mixed_6a.branch0": (320, 384, 3, 3),
        "mixed_6a.branch1.0": (320, 256, 1, 1), "mixed_6a.branch1.1": (256, 256, 3, 3),
        "mixed_6a.branch1.2": (256, 384, 3, 3), "conv2d_7b": (2080, 1536, 1, 1),
    }  # fmt: skip
    for branch, widths in ((0, (256, 384)), (1, (256, 288)), (2, (256, 288, 320))):
        for i, (inputs, outputs) in enumerate(zip((1088, *widths), widths, strict=False)):
            layers[f"mixed_7a.branch{branch}.{i}"] = (inputs, outputs, 3 if i else 1, 3 if i else 1)
    joins: Shapes = {}
    for i in range(10):
        at = f"repeat.{i}"
        layers |= {
            f"{at}.branch0": (320, 32, 1, 1), f"{at}.branch1.0": (320, 32, 1, 1), f"{at}.branch1.1": (32, 32, 3, 3),
            f"{at}.branch2.0": (320, 32, 1, 1), f"{at}.branch2.1": (32, 48, 3, 3), f"{at}.branch2.2": (48, 64, 3, 3),
        }  # fmt: skip
        joins |= _conv(f"{at}.conv2d", 128, 320, 1)
    for i in range(20):
        at = f"repeat_1.{i}"
        layers |= {
            f"{at}.branch0": (1088, 192, 1, 1), f"{at}.branch1.0": (1088, 128, 1, 1),
            f"{at}.branch1.1": (128, 160, 1, 7), f"{at}.branch1.2": (160, 192, 7, 1),
        }  # fmt: skip
        joins |= _conv(f"{at}.conv2d", 384, 1088, 1)
    for at in (*(f"repeat_2.{i}" for i in range(9)), "block8"):
        layers |= {
            f"{at}.branch0": (2080, 192, 1, 1), f"{at}.branch1.0": (2080, 192, 1, 1),
            f"{at}.branch1.1": (192, 224, 1, 3), f"{at}.branch1.2": (224, 256, 3, 1),
        }  # fmt: skip
        joins |= _conv(f"{at}.conv2d", 448, 2080, 1)
    backbone = joins | {"last_linear.weight": (1000, 1536), "last_linear.bias": (1000,)}
    for name, (inputs, outputs, height, width) in layers.items():
        backbone |= {f"{name}.conv.weight": (outputs, inputs, height, width)}
        backbone |= _batch_norm(f"{name}.bn", outputs)
    shapes = {f"fpn.inception.{name}": shape for name, shape in backbone.items()}
    stages = {
        "conv2d_1a": "enc0", "conv2d_2a": "enc1.0", "conv2d_2b": "enc1.1", "conv2d_3b": "enc2.0", "conv2d_4a": "enc2.1",
        "mixed_5b": "enc3.0", "repeat": "enc3.1", "mixed_6a": "enc3.2", "repeat_1": "enc4.0", "mixed_7a": "enc4.1",
    }  # fmt: skip
    for name, shape in backbone.items():
        first, _, rest = name.partition(".")
        if first in stages:
            shapes[f"fpn.{stages[first]}.{rest}"] = shape
    return shapes | _pyramid(256, 128, (32, 64, 192, 1088, 2080))
