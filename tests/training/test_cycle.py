"""Unpaired training: what is compared with what, which network it trains, how often each network runs."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.discriminators import Discriminator, DiscriminatorOutput, PatchGAN
from deblurlab.errors import UserError
from deblurlab.losses import L1, TV, Adv, AdvLS, Cycle, DiscriminatorLoss, FeatureMatching, Identity
from deblurlab.models import UNetRes
from deblurlab.models.cost import count_parameters
from deblurlab.training import CycleRestoration
from deblurlab.training.adversarial import ImagePool
from deblurlab.training.build import build
from deblurlab.training.cycle import _centre_crop
from deblurlab.training.schedulers import constant
from steps import BATCHES, Counting, Scales, adam, fit, images, same, sgd, split_settings, state
from support import config

SGD = {"generator": sgd, "discriminator": sgd}
NETWORKS = ("generator", "reblurrer", "discriminator", "blurred_discriminator")


class Unpaired:
    """The batches of steps.py as unpaired images, optionally with other pairs."""

    def __init__(self, *, pairs: bool = False, start: int = 0) -> None:
        batches = [{"blurred": batch["blurred"], "unpaired_sharp": batch["sharp"]} for batch in BATCHES]
        if pairs:
            batches = [
                {**b, "pair_blurred": images(i + 200), "pair_sharp": images(i + 300)} for i, b in enumerate(batches)
            ]
        self.batches, self._start = batches, start

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return iter(self.batches[self._start :])

    def __len__(self) -> int:
        return len(self.batches)


def cycle(terms: dict[str, nn.Module] | None = None, **arguments: Any) -> CycleRestoration:
    """Return a small module; its losses are cycle, identity and adv_ls unless others are given."""
    torch.manual_seed(0)
    terms = {"cycle": Cycle(), "identity": Identity(), "adv_ls": AdvLS()} if terms is None else terms
    adversarial = any(isinstance(term, DiscriminatorLoss) for term in terms.values())
    defaults = {
        "generator": UNetRes(width=4, depth=1, blocks=1, global_residual=False),
        "reblurrer": UNetRes(width=4, depth=1, blocks=1, global_residual=False),
        "discriminator": PatchGAN(n_layers=1, width=4) if adversarial else None,
        "blurred_discriminator": PatchGAN(n_layers=1, width=4),
        "weights": dict.fromkeys(terms, 1.0),
        "optimizer": {"generator": adam, "discriminator": adam},
        "scheduler": {"generator": constant, "discriminator": constant},
    }
    return CycleRestoration(terms=terms, **{**defaults, **split_settings(arguments)})


def train(
    trained: CycleRestoration, steps: int, *callbacks: pl.Callback, pairs: bool = False, **options: Any
) -> pl.Trainer:
    return fit(trained, steps, *callbacks, loader=Unpaired(pairs=pairs), **options)


class Values(pl.Callback):
    """Keeps the values of each step."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, *_: Any) -> None:
        self.seen.append(outputs)


class Affine(nn.Module):
    """x -> a x + b."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))

    def forward(self, x: Tensor) -> Tensor:
        return self.a * x + self.b


@pytest.mark.parametrize("pool", [0, 3])
def test_two_steps_equal_the_published_algorithm_by_hand(pool: int) -> None:
    """CycleGAN in plain PyTorch, discriminators first."""
    weights = {"cycle": 10.0, "identity": 5.0, "adv_ls": 1.0}
    trained = cycle(weights=weights, optimizer=SGD, image_pool=pool).double()
    g, f, d, b = copy.deepcopy([getattr(trained, name) for name in NETWORKS])
    train(trained, 2, precision="64-true")

    pools = [ImagePool(pool, seed=0), ImagePool(pool, seed=1_000_000)]
    optimizer_g, optimizer_d = sgd([*g.parameters(), *f.parameters()]), sgd([*d.parameters(), *b.parameters()])
    for batch in Unpaired().batches[:2]:
        blurred, sharp = batch["blurred"].double() / 255, batch["unpaired_sharp"].double() / 255
        restored, reblurred = g(blurred), f(sharp)
        optimizer_d.zero_grad()
        for network, real, fake, kept in ((d, sharp, restored, pools[0]), (b, blurred, reblurred, pools[1])):
            fake = kept.exchange(fake.detach())
            real, fake = network(real, real).logits[0], network(fake, fake).logits[0]
            (0.5 * (F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(fake, torch.zeros_like(fake)))).backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        fooled = [network(x, x).logits[0] for network, x in ((d, restored), (b, reblurred))]
        loss = sum(F.mse_loss(logits, torch.ones_like(logits)) for logits in fooled)
        loss = loss + 10 * (F.l1_loss(f(restored), blurred) + F.l1_loss(g(reblurred), sharp))
        loss = loss + 5 * (F.l1_loss(g(sharp), sharp) + F.l1_loss(f(blurred), blurred))
        loss.backward()
        optimizer_g.step()
    for name, theirs in zip(NETWORKS, (g, f, d, b), strict=True):
        for key, value in state(getattr(trained, name)).items():
            torch.testing.assert_close(value, state(theirs)[key], rtol=0, atol=1e-12)


def test_each_update_leaves_the_other_networks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their gradients and weights stay the same bit for bit."""
    trained = cycle(image_pool=2)
    update, seen = trained._update, []

    def memory(names: tuple[str, str]) -> dict[str, Tensor]:
        networks = nn.ModuleList(getattr(trained, name) for name in names)
        found = state(networks)
        return found | {f"grad.{n}": p.grad.clone() for n, p in networks.named_parameters() if p.grad is not None}

    def watched(updated: str, *arguments: Any) -> Any:
        own, other = (NETWORKS[:2], NETWORKS[2:]) if updated == "generator" else (NETWORKS[2:], NETWORKS[:2])
        before = memory(own), memory(other)
        values = update(updated, *arguments)
        assert same(before[1], memory(other))
        for name in own:
            assert not same(memory((name, name)), before[0])
        seen.append(updated)
        return values

    monkeypatch.setattr(trained, "_update", watched)
    train(trained, 3)
    assert seen == ["discriminator", "generator"] * 3


@pytest.mark.parametrize(
    ("terms", "runs", "discriminated"),
    [
        ({"cycle": Cycle(), "adv": Adv()}, 2, 3),
        ({"cycle": Cycle(), "identity": Identity(), "adv": Adv()}, 3, 3),
        ({"cycle": Cycle(), "adv": Adv(), "tv": TV()}, 2, 3),
        ({"identity": Identity(), "adv": Adv()}, 2, 3),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_networks_run_no_more_often_than_they_must(terms: dict[str, nn.Module], runs: int, discriminated: int) -> None:
    discriminators = {name: Watched() for name in NETWORKS[2:]}
    trained = cycle(terms, **discriminators)
    trained.generator, trained.reblurrer = Counting(trained.generator), Counting(trained.reblurrer)
    train(trained, 2)
    assert (trained.generator.calls, trained.reblurrer.calls) == (2 * runs, 2 * runs)
    assert [len(each.shown) for each in discriminators.values()] == [2 * discriminated] * 2


def test_pairs_cost_one_run_of_the_restoring_generator_and_none_of_a_discriminator() -> None:
    discriminators = {name: Watched() for name in NETWORKS[2:]}
    trained = cycle({"cycle": Cycle(), "adv": Adv(), "l1": L1()}, **discriminators)
    trained.generator, trained.reblurrer = Counting(trained.generator), Counting(trained.reblurrer)
    train(trained, 1, pairs=True)
    assert (trained.generator.calls, trained.reblurrer.calls) == (3, 2)
    assert [len(each.shown) for each in discriminators.values()] == [3, 3]


def test_cycle_and_identity_by_hand() -> None:
    """G(x) = 2 x - 0.1 and F(x) = x / 2 + 0.2, on images of one value."""
    terms = {"cycle": Cycle(), "identity": Identity()}
    trained = cycle(terms, generator=Affine(2.0, -0.1), reblurrer=Affine(0.5, 0.2))
    blurred, sharp = (torch.full((1, 3, 8, 8), value, dtype=torch.uint8) for value in (102, 204))  # 0.4, 0.8
    (micro_batch,) = trained.micro_batches({"blurred": blurred, "unpaired_sharp": sharp})
    values = {name: (weight, value.item()) for name, (weight, value) in trained.generator_losses(micro_batch).items()}
    assert values == {
        "cycle_blurred": (1.0, pytest.approx(abs((2 * 0.4 - 0.1) / 2 + 0.2 - 0.4))),
        "cycle_sharp": (1.0, pytest.approx(abs(2 * (0.8 / 2 + 0.2) - 0.1 - 0.8))),
        "identity_sharp": (1.0, pytest.approx(abs(2 * 0.8 - 0.1 - 0.8))),
        "identity_blurred": (1.0, pytest.approx(abs(0.4 / 2 + 0.2 - 0.4))),
    }


def test_losses_on_pairs_train_the_restoring_generator_only() -> None:
    terms = {"cycle": Cycle(), "l1": L1()}
    values = Values()
    trained = cycle(terms, generator=Affine(0.5, 0.1), reblurrer=Affine(1.0, 0.0), weights={"cycle": 0.0, "l1": 1.0})
    train(trained, 1, values, pairs=True)
    blurred, sharp = images(200) / 255, images(300) / 255
    torch.testing.assert_close(values.seen[0]["l1"], (0.5 * blurred + 0.1 - sharp).abs().mean())
    assert trained.generator.a.item() != 0.5
    assert trained.reblurrer.a.item() == 1.0
    # A data set of pairs serves as well.
    (micro_batch,) = trained.micro_batches({"blurred": images(0), "sharp": images(100)})
    assert micro_batch.pairs is not None
    torch.testing.assert_close(micro_batch.pairs[1], images(100) / 255)
    assert torch.equal(micro_batch.pairs[0], micro_batch.blurred)


def test_feature_matching_compares_pairs() -> None:
    trained = cycle({"cycle": Cycle(), "adv": Adv(), "feature_matching": FeatureMatching()}, generator=Affine(1.0, 0.0))
    (micro_batch,) = trained.micro_batches(Unpaired(pairs=True).batches[0])
    assert micro_batch.pairs is not None
    fake, real = (trained.discriminator(x, x).features for x in micro_batch.pairs)
    expected = torch.stack([F.l1_loss(f, r) for f, r in zip(fake, real, strict=True)]).mean()
    ((name, (_, value)),) = trained._pair_losses(micro_batch).items()
    assert name == "feature_matching"
    torch.testing.assert_close(value, expected)


def test_terms_that_compare_sets_apply_to_both_domains() -> None:
    values = Values()
    trained = cycle({"cycle": Cycle(), "tv": TV()}, generator=Affine(0.5, 0.0), reblurrer=Affine(0.25, 0.0))
    train(trained, 1, values)
    for side, source, factor in (("sharp", "blurred", 0.5), ("blurred", "unpaired_sharp", 0.25)):
        image = factor * Unpaired().batches[0][source] / 255
        torch.testing.assert_close(values.seen[0][f"tv_{side}"], TV()(image, image))


class Watched(Discriminator):
    """Records its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.shown: list[tuple[Tensor, Tensor]] = []

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        assert not blurred.requires_grad
        self.shown.append((image.detach().clone(), blurred.clone()))
        logits = self.weight * image.mean(dim=(1, 2, 3), keepdim=True)
        return DiscriminatorOutput([logits], [logits])


def test_each_discriminator_gets_its_domain_and_the_other_end_as_condition() -> None:
    discriminators = {"discriminator": Watched(), "blurred_discriminator": Watched()}
    makers = {"generator": Affine(0.5, 0.0), "reblurrer": Affine(0.25, 0.0)}
    train(cycle({"cycle": Cycle(), "adv": Adv()}, **discriminators, **makers), 1)
    blurred, sharp = (Unpaired().batches[0][key] / 255 for key in ("blurred", "unpaired_sharp"))
    for name, real, condition, source, generated in (
        ("discriminator", sharp, sharp / 4, blurred, blurred / 2),
        ("blurred_discriminator", blurred, blurred / 2, sharp, sharp / 4),
    ):
        expected = [(real, condition), (generated, source), (generated, source)]
        for shown, correct in zip(discriminators[name].shown, expected, strict=True):
            torch.testing.assert_close(shown, correct)


@pytest.mark.parametrize("identity", [True, False])
def test_micro_batches_give_the_same_step(identity: bool) -> None:
    terms: dict[str, nn.Module] = {"cycle": Cycle(), "adv_ls": AdvLS(), "l1": L1()}
    terms |= {"identity": Identity()} if identity else {}
    discriminators = {name: PatchGAN(n_layers=1, width=4, norm="none") for name in NETWORKS[2:]}
    whole, parts = (cycle(terms, optimizer=SGD, accumulate=n, **copy.deepcopy(discriminators)).double() for n in (1, 4))
    for trained in (whole, parts):
        train(trained, 2, pairs=True, precision="64-true")
    for name, value in state(whole).items():
        torch.testing.assert_close(state(parts)[name], value, rtol=0, atol=1e-12)


def test_cycle_with_models_of_several_scales() -> None:
    trained = cycle(generator=Scales(), reblurrer=Scales())
    (micro_batch,) = trained.micro_batches(Unpaired().batches[0])
    coarse, fine = trained.reblurrer(trained.generator(micro_batch.blurred)[1])
    small = F.avg_pool2d(micro_batch.blurred, 2)
    value = trained.generator_losses(micro_batch)["cycle_blurred"][1]
    torch.testing.assert_close(value, (coarse - small).abs().mean() + (fine - micro_batch.blurred).abs().mean())


def test_resuming_is_exact_pools_included(tmp_path: Path) -> None:
    options = {"image_pool": 3}
    through, first, second = (cycle(**options) for _ in range(3))
    train(through, 6)
    train(first, 3).save_checkpoint(tmp_path / "a.ckpt")
    nn.init.ones_(second.reblurrer.head.weight)
    trainer = pl.Trainer(
        max_steps=6, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(second, Unpaired(start=3), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert same(state(through), state(second))
    for side in ("sharp", "blurred"):
        kept, expected = (m.adversarial_states[side].state_dict()["pool"] for m in (second, through))
        assert len(kept["images"]) == 3
        assert all(torch.equal(a, b) for a, b in zip(kept["images"], expected["images"], strict=True))
        assert torch.equal(kept["random"], expected["random"])


def test_the_recipe_has_the_published_networks() -> None:
    module = build(config("experiment=cyclegan"))
    assert isinstance(module, CycleRestoration)
    assert [count_parameters(getattr(module, name)) for name in NETWORKS] == [11_378_179] * 2 + [2_764_737] * 2
    assert module.weights == {"cycle": 20, "identity": 10, "adv_ls": 1}
    assert not same(state(module.generator), state(module.reblurrer))
    chosen = config("experiment=cyclegan", "loss=cycle+5*identity+adv_hinge", "model=unet_res", "discriminator=unet")
    module = build(chosen)
    assert module.weights == {"cycle": 20, "identity": 5, "adv_hinge": 1}
    assert type(module.reblurrer) is UNetRes


def test_without_adversarial_losses_no_discriminator_is_built() -> None:
    """The random state after `build` is that after both generators."""
    shrunk = "module=cycle", "model=unet_res", "model.width=4", "model.depth=1", "model.blocks=1"
    module = build(config(*shrunk, "loss=cycle+identity"))
    after = torch.get_rng_state()
    torch.manual_seed(0)
    for _ in range(2):
        UNetRes(width=4, depth=1, blocks=1)
    assert torch.equal(after, torch.get_rng_state())
    assert module.discriminator is module.blurred_discriminator is None


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (("loss=l1", "+model@reblurrer=unet"), "reblurrer"),
        (("module=cycle", "loss=cycle", "+model@other=unet"), "other"),
    ],
)
def test_a_network_that_the_module_does_not_use_is_rejected(overrides: list[str], name: str) -> None:
    with pytest.raises(UserError, match=f"^{name}=deblurlab.models.UNet is unused, .* has no network {name}: leave"):
        build(config(*overrides))


def test_views() -> None:
    """blurred | restored | reblurred | sharp | blurred again | restored, of one size."""
    trained = cycle(generator=Affine(2.0, 0.0), reblurrer=Affine(0.25, 0.0))
    blurred, other = (
        torch.full((1, 3, 12, 20), 51, dtype=torch.uint8),
        torch.full((1, 3, 16, 10), 204, dtype=torch.uint8),
    )
    row = trained.views({"blurred": blurred, "unpaired_sharp": other}, trained(blurred / 255))  # type: ignore[typeddict-item]
    assert {tuple(image.shape) for image in row} == {(3, 12, 10)}
    assert [round(image.mean().item(), 4) for image in row] == [0.2, 0.4, 0.1, 0.8, 0.2, 0.4]
    rows = torch.arange(7.0).view(1, 7, 1).expand(3, 7, 4)
    assert torch.equal(_centre_crop(rows, 3, 4), rows[:, 2:5])


def test_losses_that_all_need_pairs_are_rejected() -> None:
    with pytest.raises(ValueError, match="every loss term needs pairs"):
        cycle({"l1": L1()})
