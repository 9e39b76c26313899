"""Adversarial training state: image pools and histories of logits."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.discriminators import Discriminator, DiscriminatorOutput
from deblurlab.losses import L1, Adv, AdvRaLS
from deblurlab.training.adversarial import History, ImagePool
from steps import BATCHES, fit, module, same, state


def frozen_sgd(parameters: Any) -> torch.optim.Optimizer:
    """Return an optimizer of learning rate 0."""
    return torch.optim.SGD(parameters, lr=0.0)


def _numbers(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1)


def test_a_pool_fills_up_and_then_exchanges_as_its_random_numbers_say() -> None:
    """Against the rule written out by hand on the same stream."""
    pool, stream = ImagePool(3, seed=5), torch.Generator().manual_seed(5)
    kept, expected, shown = [], [], []
    for number in range(40):
        shown += pool.exchange(_numbers(float(number))).flatten().tolist()
        if len(kept) < 3:
            kept.append(number)
            expected.append(number)
        elif torch.rand((), generator=stream) < 0.5:
            place = int(torch.randint(3, (), generator=stream))
            expected.append(kept[place])
            kept[place] = number
        else:
            expected.append(number)
    assert shown == expected
    assert shown[:3] == [0, 1, 2]
    assert any(a != b for a, b in zip(shown, range(40), strict=True))


def test_a_pool_of_size_0_returns_its_input() -> None:
    images = torch.rand(2, 3, 4, 4)
    assert ImagePool(0).exchange(images) is images


def test_a_pool_resumes_from_its_state() -> None:
    through, first, second = ImagePool(2), ImagePool(2), ImagePool(2)
    for number in range(5):
        through.exchange(_numbers(number)), first.exchange(_numbers(number))
    second.load_state_dict(first.state_dict(), torch.device("cpu"))
    for number in range(5, 25):
        assert torch.equal(through.exchange(_numbers(number)), second.exchange(_numbers(number)))


def test_a_history_averages_the_last_batches() -> None:
    history = History(2)
    for value in (1.0, 2.0, 4.0):
        output = DiscriminatorOutput([torch.full((1, 1, 2, 2), value), torch.full((1, 1, 1, 1), -value)], [])
        history.add(real=output, fake=DiscriminatorOutput([logits + 1 for logits in output.logits], []))
    assert history.attach("real", output).history == [torch.tensor(3.0), torch.tensor(-3.0)]
    assert history.attach("fake", output).history == [torch.tensor(4.0), torch.tensor(-2.0)]
    assert [mean.item() for mean in output.means()] == [4.0, -4.0]
    assert History(0).attach("real", output) is output


def test_shares_of_a_batch_are_one_batch() -> None:
    history = History(5)
    for value, share in ((1.0, 0.75), (5.0, 0.25), (4.0, 1.0)):
        output = DiscriminatorOutput([torch.full((1, 1, 1, 1), value)], [])
        history.add(real=output, fake=output, share=share)
    assert [mean.item() for mean in history.state_dict()["real"]] == [2.0, 4.0]


@pytest.mark.parametrize("options", [{"n_critic": 3}, {"accumulate": 4}, {"n_critic": 2, "accumulate": 2}])
def test_each_batch_is_stored_once_whatever_the_number_of_updates(options: dict[str, int]) -> None:
    trained = module(image_pool=20, history=20, **options)
    fit(trained, 2)
    memory = trained.adversarial_states["sharp"].state_dict()
    images = memory["pool"]["images"]
    assert len(images) == 8
    assert len({image.sum().item() for image in images}) == 8
    assert len(memory["history"]["real"]) == 2


class Recorder(Discriminator):
    """Records its inputs; its logit is a weight times the mean of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.shown: list[tuple[Tensor, Tensor]] = []

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        self.shown.append((image.detach().clone(), blurred.clone()))
        logits = self.weight * image.mean(dim=(1, 2, 3)).view(-1, 1, 1, 1)
        return DiscriminatorOutput([logits], [logits])


FROZEN = dict.fromkeys(("generator", "discriminator"), frozen_sgd)


def test_the_discriminator_gets_a_pooled_image_with_its_own_condition() -> None:
    """The generator is the identity and isn't trained: each restored image equals its blurred one."""
    discriminator = Recorder()
    fit(module({"adv": Adv()}, discriminator=discriminator, image_pool=2, optimizer=FROZEN), 6)
    exchanged = 0
    for step in range(6):
        _, fake, _ = discriminator.shown[3 * step : 3 * step + 3]
        torch.testing.assert_close(*fake)
        exchanged += not torch.equal(fake[1], BATCHES[step]["blurred"] / 255)
    assert exchanged > 0


def test_each_side_is_compared_with_the_history_of_the_other() -> None:
    """A relativistic loss by hand: means over both batches so far, for generator and discriminator."""
    values: list[dict[str, Tensor]] = []

    class Values(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, *_: Any) -> None:
            values.append(outputs)

    fit(module({"adv": AdvRaLS()}, discriminator=Recorder(), history=2, optimizer=FROZEN), 2, Values())
    real, fake = ([(batch[key] / 255).mean(dim=(1, 2, 3)) for batch in BATCHES[:2]] for key in ("sharp", "blurred"))
    mean_real, mean_fake = (torch.cat(side).mean() for side in (real, fake))
    up, down = real[1] - mean_fake, fake[1] - mean_real
    discriminating = ((up - 1).square().mean() + (down + 1).square().mean()) / 2
    generating = ((up + 1).square().mean() + (down - 1).square().mean()) / 2
    torch.testing.assert_close(values[1]["discriminator_adv"], discriminating)
    torch.testing.assert_close(values[1]["adv"], generating)


def test_pools_differ_between_seeds() -> None:
    drawn = []
    for seed in (0, 1):
        trained = module(image_pool=2, seed=seed)
        fit(trained, 1)
        drawn.append(trained.adversarial_states["sharp"].state_dict()["pool"]["random"].tolist())
    assert drawn[0] != drawn[1]


class RecordingPenalty(Adv):
    """Records the arguments of its penalty."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, Tensor]] = []

    def penalty(self, discriminator: Discriminator, sharp: Tensor, restored: Tensor, blurred: Tensor) -> Tensor | None:
        self.calls.append((sharp, blurred))
        return None


def test_penalties_get_the_sharp_images_with_their_own_condition() -> None:
    """Also when the image pool has exchanged restored images and their conditions."""
    loss = RecordingPenalty()
    fit(module({"adv": loss}, image_pool=2), 6)
    for batch, (sharp, blurred) in zip(BATCHES, loss.calls, strict=True):
        torch.testing.assert_close(sharp, batch["sharp"] / 255)
        torch.testing.assert_close(blurred, batch["blurred"] / 255)


@pytest.mark.parametrize("options", [{"image_pool": 3}, {"history": 3}], ids=["pool", "history"])
def test_pool_and_history_are_stored_and_affect_the_training(options: dict[str, int], tmp_path: Path) -> None:
    terms = {"l1": L1(), "adv": AdvRaLS()}
    trained, without = module(terms, **options), module(terms)
    fit(trained, 4).save_checkpoint(tmp_path / "a.ckpt")
    fit(without, 4)
    assert not same(state(trained.discriminator), state(without.discriminator))
    memory = read_checkpoint(tmp_path / "a.ckpt")["memory"][0]["sharp"]
    assert len(memory["pool"]["images"]) == options.get("image_pool", 0)
    assert len(memory["history"]["real"]) == options.get("history", 0)


def test_discriminator_start_delays_the_adversarial_loss() -> None:
    """Before that step the training equals one without the loss, and the discriminator is unchanged."""
    alone, late = module({"l1": L1()}), module({"l1": L1(), "adv": Adv()}, discriminator_start=3)
    before = state(late.discriminator)
    fit(alone, 3), fit(late, 3)
    assert same(state(alone.generator), state(late.generator))
    assert same(before, state(late.discriminator))
    alone, late = module({"l1": L1()}), module({"l1": L1(), "adv": Adv()}, discriminator_start=3)
    fit(alone, 4), fit(late, 4)
    assert not same(before, state(late.discriminator))
    assert not same(state(alone.generator), state(late.generator))


@pytest.mark.parametrize(
    ("terms", "options", "message"),
    [
        ({"adv": Adv()}, {"discriminator_start": 2}, "until discriminator_start=2 the generator would not be trained"),
        ({"adv": Adv()}, {"image_pool": -1}, "image_pool=-1"),
        ({"adv": Adv()}, {"history": -1}, "history=-1"),
        ({"adv": Adv()}, {"n_critic": 1.5}, "n_critic=1.5 must be a whole number"),
        ({"l1": L1()}, {"gradient_clip": -1.0}, "gradient_clip=-1.0 must be more than 0"),
        ({"l1": L1()}, {"interval": "steps"}, "interval=steps is unknown: step or epoch"),
    ],
)
def test_invalid_settings_are_rejected(terms: dict, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module(terms, **options)


def test_accuracy_is_the_share_of_logits_with_the_right_sign() -> None:
    accuracy = module({"l1": L1(), "adv": Adv()}).adversarial_states["sharp"]
    real = DiscriminatorOutput(logits=[torch.tensor([1.0, 2.0, -1.0, 3.0, 0.0])], features=[])
    fake = DiscriminatorOutput(logits=[torch.tensor([1.0, -2.0, -1.0, -3.0, 0.0])], features=[])
    accuracy.record(real, fake, share=1.0)
    assert accuracy.accuracy == torch.tensor(6 / 10)  # 0 is on neither side
