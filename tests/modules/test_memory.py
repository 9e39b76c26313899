"""What discriminators remember: pools of images, histories of judgements."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from deblurlab.checkpoints import read_checkpoint
from deblurlab.discriminators import Judgement
from deblurlab.losses import L1, Adv, AdvRaLS
from deblurlab.modules.memory import History, ImagePool
from steps import fit, module, same, state


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


def test_a_pool_of_size_0_shows_the_images_themselves() -> None:
    images = torch.rand(2, 3, 4, 4)
    assert ImagePool(0).exchange(images) is images


def test_a_pool_goes_on_from_its_state() -> None:
    through, first, second = ImagePool(2), ImagePool(2), ImagePool(2)
    for number in range(5):
        through.exchange(_numbers(number)), first.exchange(_numbers(number))
    second.load_state_dict(first.state_dict(), torch.device("cpu"))
    for number in range(5, 25):
        assert torch.equal(through.exchange(_numbers(number)), second.exchange(_numbers(number)))


def test_a_history_averages_the_last_batches() -> None:
    history = History(2)
    for value in (1.0, 2.0, 4.0):
        judged = Judgement([torch.full((1, 1, 2, 2), value), torch.full((1, 1, 1, 1), -value)], [])
        history.add(real=judged, fake=Judgement([logits + 1 for logits in judged.logits], []))
    assert history.beside("real", judged).history == [torch.tensor(3.0), torch.tensor(-3.0)]
    assert history.beside("fake", judged).history == [torch.tensor(4.0), torch.tensor(-2.0)]
    assert [mean.item() for mean in judged.means()] == [4.0, -4.0]
    assert History(0).beside("real", judged) is judged


@pytest.mark.parametrize("options", [{"image_pool": 3}, {"history": 3}], ids=["pool", "history"])
def test_both_are_in_the_checkpoint_and_change_the_training(options: dict[str, int], tmp_path: Path) -> None:
    terms = {"l1": L1(), "adv": AdvRaLS()}
    trained, without = module(terms, **options), module(terms)
    fit(trained, 4).save_checkpoint(tmp_path / "a.ckpt")
    fit(without, 4)
    assert not same(state(trained.discriminator), state(without.discriminator))
    memory = read_checkpoint(tmp_path / "a.ckpt")["memory"]
    assert len(memory["pool"]["images"]) == options.get("image_pool", 0)
    assert len(memory["history"]["real"]) == options.get("history", 0)


def test_the_adversary_comes_into_play_when_it_is_told_to() -> None:
    """Until then the training is that without it, and the discriminator stays as it was."""
    alone, late = module({"l1": L1()}), module({"l1": L1(), "adv": Adv()}, discriminator_start=3)
    before = state(late.discriminator)
    fit(alone, 3), fit(late, 3)
    assert same(state(alone.generator), state(late.generator))
    assert same(before, state(late.discriminator))
    alone, late = module({"l1": L1()}), module({"l1": L1(), "adv": Adv()}, discriminator_start=3)
    fit(alone, 4), fit(late, 4)
    assert not same(before, state(late.discriminator))
    assert not same(state(alone.generator), state(late.generator))
