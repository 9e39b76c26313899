"""Losses and discriminators from outside: functions, plain modules, and the values that losses ask for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.config import compose
from deblurlab.discriminators import PatchGAN
from deblurlab.errors import UserError
from deblurlab.losses import L1, AdversarialFunctions, AdvHinge, AdvRaLS, AdvWGANGP, FeatureMatching, LossTerm
from deblurlab.models import Model
from deblurlab.training.build import build
from steps import BATCHES, Scales, fit, module, same, state


class Values(pl.Callback):
    """Keeps the values of the loss terms of every step."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, *_: Any) -> None:
        self.seen.append(outputs)


class Half(nn.Module):
    """Generator that halves its input."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))

    def forward(self, blurred: Tensor) -> Tensor:
        return self.factor * blurred


@pytest.mark.parametrize("own", [F.l1_loss, nn.L1Loss(), lambda x, y: (x - y).abs().mean()])
def test_functions_and_plain_modules_train_like_the_same_term(own: Callable[..., Tensor]) -> None:
    trained, expected = module({"own": own}), module({"own": L1()})
    fit(trained, 3)
    fit(expected, 3)
    assert same(state(trained.generator), state(expected.generator))


@pytest.mark.parametrize("name", ["keys", "a.b"])
def test_names_that_terms_cannot_have_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"loss.{name}: a term can't have this name"):
        module({name: L1()})


def test_a_loss_gets_the_blurred_image_and_the_step() -> None:
    steps: list[int] = []

    def own(restored: Tensor, sharp: Tensor, blurred: Tensor, global_step: int) -> Tensor:
        steps.append(global_step)
        return (restored - blurred).abs().mean() + 0 * sharp.mean()

    values = Values()
    fit(module({"own": own}, generator=Half()), 3, values)
    torch.testing.assert_close(values.seen[0]["own"], (BATCHES[0]["blurred"] / 255 / 2).mean())
    assert steps == [0, 1, 2]


def test_a_term_of_all_scales_gets_the_blurred_image_at_each() -> None:
    class Change(LossTerm):
        scales = "all"

        def forward(self, restored: Tensor, blurred: Tensor) -> Tensor:
            return (restored - blurred).mean()

    values, generator = Values(), Scales()
    nn.init.zeros_(generator.layer.weight)
    nn.init.constant_(generator.layer.bias, 0.5)  # restores 0.5 everywhere
    fit(module({"own": Change()}, generator=generator), 1, values)
    # The area mean of the blurred image at half size has the same mean.
    torch.testing.assert_close(values.seen[0]["own"], 2 * (0.5 - (BATCHES[0]["blurred"] / 255).mean()))


def test_two_functions_train_like_the_same_adversarial_loss() -> None:
    functions = AdversarialFunctions(
        generator=lambda fake: -fake.mean(),
        discriminator=lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
        boundary=0.0,
    )
    trained, expected = (module({"l1": L1(), "adv": loss}) for loss in (functions, AdvHinge()))
    for each in (trained, expected):
        fit(each, 3)
    assert same(state(trained), state(expected))
    assert torch.equal(trained.accuracies()["discriminator"], expected.accuracies()["discriminator"])


def test_generator_losses_of_the_discriminator_get_values_by_name_too() -> None:
    class Weighted(AdvHinge):
        def generator_loss(self, real: Any, fake: Any, *, restored: Tensor, sharp: Tensor) -> Tensor:  # type: ignore[override]
            return super().generator_loss(real, fake) * 0 + (restored - sharp).abs().mean()

        def discriminator_loss(self, real: Any, fake: Any, *, blurred: Tensor, restored: Tensor) -> Tensor:  # type: ignore[override]
            return super().discriminator_loss(real, fake) * 0 + (restored / blurred.clamp(min=1e-6)).median()

    values = Values()
    fit(module({"adv": Weighted()}, generator=Half()), 1, values)
    blurred, sharp = (BATCHES[0][key] / 255 for key in ("blurred", "sharp"))
    torch.testing.assert_close(values.seen[0]["adv"], (blurred / 2 - sharp).abs().mean())
    assert values.seen[0]["discriminator_adv"].item() == pytest.approx(0.5)


class Bare(nn.Module):
    """PatchGAN that returns its logits only, in one of the allowed forms."""

    def __init__(self, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.network, self.form = PatchGAN(n_layers=1, width=4), form

    def forward(self, image: Tensor) -> Any:
        return self.form(self.network(image, image).logits[0])


@pytest.mark.parametrize("form", [lambda x: x, lambda x: [x], lambda x: (x,)], ids=["tensor", "list", "tuple"])
@pytest.mark.parametrize("loss", [AdvRaLS, AdvWGANGP])
def test_a_plain_module_trains_like_the_same_discriminator(form: Callable[..., Any], loss: type[AdvRaLS]) -> None:
    torch.manual_seed(0)
    bare = Bare(form)
    expected = module({"l1": L1(), "adv": loss()}, history=2)
    bare.network.load_state_dict(expected.discriminator.state_dict())
    trained = module({"l1": L1(), "adv": loss()}, history=2, discriminator=bare)
    for each in (trained, expected):
        torch.manual_seed(0)
        fit(each, 2)
    assert same(state(bare.network), state(expected.discriminator))
    assert same(state(trained.generator), state(expected.generator))


def test_features_of_a_discriminator_without_any_are_one_line() -> None:
    trained = module({"l1": L1(), "matching": FeatureMatching()}, discriminator=Bare(lambda x: x))
    with pytest.raises(UserError, match="feature_matching compares features, and the discriminator returns logits"):
        fit(trained, 1)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"own": lambda x, y: (x - y).abs().mean(dim=(1, 2, 3))}, r"^loss own returned a tensor of shape \(4,"),
        (
            {"adv": AdversarialFunctions(generator=lambda fake: fake, discriminator=lambda real, fake: real.mean())},
            r"^the generator's function returned a tensor of shape \(4, 1,",
        ),
    ],
)  # fmt: skip
def test_wrong_shapes_are_one_line_that_names_the_term(terms: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        fit(module(terms, generator=Half()), 1)
    assert "\n" not in str(caught.value)


def test_restored_images_of_another_shape_are_one_line() -> None:
    class Grey(Model):
        multiple_of = 1

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 1, 1)

        def restore(self, blurred: Tensor) -> Tensor:
            return self.layer(blurred)

    with pytest.raises(UserError, match=r"loss l1 compares restored images of shape \(4, 1, 32, 32\) with sharp ones"):
        fit(module({"l1": L1()}, generator=Grey()), 1)


OWN = """
import torch.nn as nn
import torch.nn.functional as F

def huber(restored, sharp, blurred, delta):
    return F.huber_loss(restored, sharp, delta=delta) + 0 * blurred.mean()

def generator_loss(fake):
    return F.softplus(-fake).mean()

def discriminator_loss(real, fake):
    return F.softplus(-real).mean() + F.softplus(fake).mean()

def network(width):
    return nn.Sequential(nn.Conv2d(3, width, 4, stride=2), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 4))
"""
OPTIONS = {
    "loss/own_huber": "own_huber: {_target_: own_parts.huber, _partial_: true, delta: 0.1, weight: 1.0}",
    "loss/own_eager": "own_eager: {_target_: own_parts.huber, delta: 0.1}",
    "loss/own_adv": """
own_adv:
  _target_: deblurlab.losses.AdversarialFunctions
  weight: 0.001
  generator: {_target_: own_parts.generator_loss, _partial_: true}
  discriminator: {_target_: own_parts.discriminator_loss, _partial_: true}
""",
    "discriminator/own": "_target_: own_parts.network\nwidth: 4",
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with options of one's own; the module that they name can be imported."""
    (tmp_path / "own_parts.py").write_text(OWN)
    for option, content in OPTIONS.items():
        file = tmp_path / "conf" / f"{option}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "conf"


def test_functions_of_ones_own_train_through_the_command_line(
    own: Path, data_root: Path, train: Callable[..., Path]
) -> None:
    run = train(
        "--config-dir", str(own), "loss=own_huber+0.01*own_adv", "discriminator=own", "model=unet_res", "model.width=4",
        "model.depth=1", "model.blocks=1", "+debug=smoke", "trainer.limit_test_batches=1", f"data.root={data_root}",
        "name=run", smoke=False,
    )  # fmt: skip
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"loss/own_huber", "loss/own_adv", "loss/discriminator_own_adv"} <= {*header}


def test_a_function_without_partial_is_explained(own: Path) -> None:
    cfg = compose("loss=own_eager", config_dirs=[own])
    with pytest.raises(UserError, match=r"loss.own_eager: huber\(\) missing .*needs _partial_: true"):
        build(cfg)
