"""The training step: which network is updated from what, how often, at what cost."""

import copy
import shutil
from itertools import pairwise
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.losses import L1, MSE, Adv, AdvWGANGP
from deblurlab.losses.base import DiscriminatorLoss
from deblurlab.training.schedulers import cosine, linear, poly
from steps import BATCHES, Counting, Scales, fit, images, module, same, sgd, state

SGD = {"generator": sgd, "discriminator": sgd}


class RecordingSGD(torch.optim.SGD):
    """Records the state of both networks before and after each of its steps."""

    def __init__(self, parameters: Any, name: str, log: list, networks: dict[str, nn.Module]) -> None:
        super().__init__(parameters, lr=0.1)
        self._name, self._log, self._networks = name, log, networks

    def step(self, closure: Any = None) -> Any:
        before = {name: state(network) for name, network in self._networks.items()}
        result = super().step(closure)
        self._log.append((self._name, before, {name: state(network) for name, network in self._networks.items()}))
        return result


def _recorded(steps: int, **arguments: Any) -> list[tuple[str, dict, dict]]:
    log: list = []
    networks: dict[str, nn.Module] = {}
    makers = {
        name: (lambda parameters, name=name: RecordingSGD(parameters, name, log, networks))
        for name in ("generator", "discriminator")
    }
    trained = module(optimizer=makers, **arguments)
    networks |= {"generator": trained.generator, "discriminator": trained.discriminator}
    fit(trained, steps)
    return log


def test_each_update_changes_its_own_network_and_leaves_the_other_bit_for_bit() -> None:
    log = _recorded(2)
    assert [name for name, *_ in log] == ["discriminator", "generator"] * 2
    for name, before, after in log:
        other = {"generator": "discriminator", "discriminator": "generator"}[name]
        assert same(before[other], after[other])
        assert not same(before[name], after[name])
    for (_, _, after), (_, before, _) in pairwise(log):  # nor between the updates
        assert same(after["generator"], before["generator"])
        assert same(after["discriminator"], before["discriminator"])


def test_n_critic_is_the_number_of_discriminator_updates() -> None:
    assert [name for name, *_ in _recorded(2, n_critic=3)] == [*["discriminator"] * 3, "generator"] * 2


def test_n_critic_defaults_to_the_number_that_the_loss_was_published_with() -> None:
    def order(steps: int, term: nn.Module) -> list[str]:
        return [name for name, *_ in _recorded(steps, terms={"adv": term})]

    assert order(1, AdvWGANGP()) == [*["discriminator"] * 5, "generator"]
    assert order(1, Adv()) == ["discriminator", "generator"]


@pytest.mark.parametrize("terms", [{"l1": L1()}, {"l1": L1(), "adv": Adv()}], ids=["alone", "adversary"])
def test_one_batch_is_one_step(terms: dict[str, nn.Module]) -> None:
    class Count(pl.Callback):
        batches = 0

        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            Count.batches += 1
            assert trainer.global_step == Count.batches

    trained = module(terms)
    trainer = fit(trained, 8, Count())  # across the end of an epoch
    assert trainer.global_step == Count.batches == 8


def test_a_step_equals_a_loop_written_by_hand() -> None:
    """Two steps of L1 and the GAN loss in plain PyTorch, in float64 (docs/method.md, equations 4 to 6)."""
    trained = module(weights={"l1": 1.0, "adv": 0.5}, optimizer=SGD).double()
    generator, discriminator = copy.deepcopy((trained.generator, trained.discriminator))
    assert discriminator is not None
    fit(trained, 2, precision="64-true")

    optimizer_g, optimizer_d = sgd(generator.parameters()), sgd(discriminator.parameters())
    for batch in BATCHES[:2]:
        blurred, sharp = (batch[key].double() / 255 for key in ("blurred", "sharp"))
        restored = generator(blurred)
        real, fake = (discriminator(x, blurred).logits[0] for x in (sharp, restored.detach()))
        ones, zeros = torch.ones_like(real), torch.zeros_like(real)
        loss = F.binary_cross_entropy_with_logits(real, ones) + F.binary_cross_entropy_with_logits(fake, zeros)
        optimizer_d.zero_grad()
        (loss / 2).backward()
        optimizer_d.step()
        fake = discriminator(restored, blurred).logits[0]
        loss = (restored - sharp).abs().mean() + 0.5 * F.binary_cross_entropy_with_logits(fake, ones)
        optimizer_g.zero_grad()
        loss.backward()
        optimizer_g.step()
    for mine, theirs in ((trained.generator, generator), (trained.discriminator, discriminator)):
        for name, value in state(mine).items():
            torch.testing.assert_close(value, state(theirs)[name], rtol=0, atol=1e-12)


def test_the_generator_runs_once_per_step() -> None:
    trained = module()
    trained.generator = Counting(trained.generator)
    fit(trained, 3)
    assert trained.generator.calls == 3


def test_without_adversarial_terms_there_is_no_discriminator() -> None:
    trained = module({"l1": L1(), "mse": MSE()})
    assert trained.discriminator is None
    assert len(fit(trained, 1).optimizers) == 1


def test_a_term_of_weight_zero_is_logged_and_trains_nothing() -> None:
    class Values(pl.Callback):
        seen: list[dict[str, Tensor]] = []

        def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, *_: Any) -> None:
            self.seen.append(outputs)

    class Recording(MSE):
        with_gradient: bool | None = None

        def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
            self.with_gradient = torch.is_grad_enabled()
            return super().forward(restored, sharp)

    values, unweighted = Values(), Recording()
    alone, beside = module({"l1": L1()}), module({"l1": L1(), "mse": unweighted}, weights={"l1": 1.0, "mse": 0.0})
    fit(alone, 3)
    fit(beside, 3, values)
    assert same(state(alone.generator), state(beside.generator))
    blurred, sharp = (BATCHES[0][key] / 255 for key in ("blurred", "sharp"))
    assert values.seen[0]["mse"].item() == pytest.approx((blurred - sharp).square().mean().item())
    assert unweighted.with_gradient is False


def test_weights_scale_gradients() -> None:
    """SGD moves twice as far with twice the weight."""
    start = state(module({"l1": L1()}).generator)
    moved = []
    for weight in (1.0, 2.0):
        trained = module({"l1": L1()}, weights={"l1": weight}, optimizer={"generator": sgd})
        fit(trained, 1)
        moved.append({name: value - start[name] for name, value in state(trained.generator).items()})
    for name, step in moved[0].items():
        torch.testing.assert_close(2 * step, moved[1][name], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("terms", [{"l1": L1()}, {"l1": L1(), "adv": Adv()}], ids=["alone", "adversary"])
def test_micro_batches_give_the_same_step(terms: dict[str, nn.Module]) -> None:
    whole, split = (module(terms, accumulate=n).double() for n in (1, 4))
    for trained in (whole, split):
        fit(trained, 2, precision="64-true")
    for name, value in state(whole.generator).items():
        torch.testing.assert_close(value, state(split.generator)[name], rtol=0, atol=1e-10)
    if whole.discriminator is not None:
        for name, value in state(whole.discriminator).items():
            torch.testing.assert_close(value, state(split.discriminator)[name], rtol=0, atol=1e-10)


def test_clipping_bounds_each_networks_gradient() -> None:
    norms: list[float] = []

    class Measured(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            result = super().step(closure)  # Lightning's hooks run in the closure
            gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
            norms.append(torch.cat([g.flatten() for g in gradients]).norm().item())
            return result

    make = dict.fromkeys(("generator", "discriminator"), lambda parameters: Measured(parameters, lr=0.1))
    fit(module(optimizer=make), 2)
    assert max(norms) > 2e-3
    norms.clear()
    fit(module(optimizer=make, gradient_clip=1e-3), 2)
    assert norms == pytest.approx([1e-3] * 4, rel=1e-2)


@pytest.mark.parametrize(("interval", "expected"), [("step", 9), ("epoch", 1)])
def test_schedulers_step_with_batches_or_epochs(interval: str, expected: int) -> None:
    def halve(optimizer: Any) -> Any:
        return torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)

    trained = module(scheduler={"generator": halve, "discriminator": halve}, interval=interval)
    trainer = fit(trained, 9)  # an epoch and a half
    rates = [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers]
    assert rates == [1e-3 * 0.5**expected] * 2


def test_a_scheduler_with_a_total_gets_the_length_of_the_training() -> None:
    trained = module(scheduler={"generator": cosine, "discriminator": cosine})
    trainer = fit(trained, 9)
    assert [o.param_groups[0]["lr"] for o in trainer.optimizers] == pytest.approx([1e-7] * 2)


def test_cosine_with_warmup_by_hand() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = cosine(optimizer, 13, warmup=3, final=0.0)
    rates = []
    for _ in range(13):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[8] == pytest.approx(0.5)  # half-way down
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)


def _rates(make: Any, total: int, **arguments: Any) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(optimizer, total, **arguments), []
    for _ in range(total + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_other_schedules_by_hand() -> None:
    assert _rates(linear, 6, hold=2, final=0.2) == pytest.approx([1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert _rates(poly, 4, power=0.5) == pytest.approx([1, 0.75**0.5, 0.5**0.5, 0.5, 0])
    assert _rates(cosine, 6, hold=2, final=0.0)[:5] == pytest.approx([1, 1, 1, 0.5 + 0.5**1.5, 0.5])
    assert _rates(cosine, 4, warmup=1, hold=1, final=0.0) == pytest.approx([0.5, 1, 1, 0.5, 0])


def test_pixel_terms_use_all_scales_and_the_others_the_finest() -> None:
    class Finest(nn.Module):
        def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
            assert restored.shape[-1] == sharp.shape[-1] == 32
            return (restored - sharp).abs().mean()

    trained = module({"l1": L1(), "own": Finest()}, generator=Scales())
    micro_batch = trained.micro_batches({**BATCHES[0], "name": [], "index": torch.zeros(4)})[0]
    terms = trained.generator_losses(micro_batch)
    coarse, fine = trained.generator(micro_batch.blurred)
    small = F.avg_pool2d(micro_batch.sharp, 2)
    expected = (coarse - small).abs().mean() + (fine - micro_batch.sharp).abs().mean()
    torch.testing.assert_close(terms["l1"][1], expected)
    torch.testing.assert_close(terms["own"][1], (fine - micro_batch.sharp).abs().mean())
    assert trained(micro_batch.blurred).shape == (4, 3, 32, 32)


def test_the_restored_image_is_clamped_outside_training_only() -> None:
    trained = module({"l1": L1()}, generator=Scales())
    nn.init.constant_(trained.generator.layer.bias, 5.0)  # type: ignore[union-attr,arg-type]
    blurred = images(0) / 255
    assert trained(blurred).max() == 1
    assert trained.generator(blurred)[-1].max() > 4


def test_compiling_keeps_the_names_of_weights_and_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Module, "compile", lambda self: setattr(self, "_compiled_call_impl", self._call_impl))
    plain, compiled = module(), module(compile=True)
    fit(plain, 2)
    fit(compiled, 2)
    assert compiled.generator._compiled_call_impl is not None
    assert same(state(plain), state(compiled))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_step_is_the_plain_one_to_rounding() -> None:
    plain, compiled = (module(optimizer=SGD, compile=enabled).double() for enabled in (False, True))
    for trained in (plain, compiled):
        fit(trained, 2, precision="64-true")
    for name, value in state(plain).items():
        torch.testing.assert_close(state(compiled)[name], value, rtol=0, atol=1e-10)


def test_networks_and_terms_that_do_not_go_together_are_rejected() -> None:
    class LogitLoss(DiscriminatorLoss):
        def generator_loss(self, real: Any, fake: Any) -> Tensor:
            return fake.logits[0].mean()

    with pytest.raises(ValueError, match="exactly if some loss term needs it"):
        module(discriminator=None)
    with pytest.raises(ValueError, match="the generator would not be trained"):
        module({"l1": L1()}, weights={"l1": 0.0})
    untrained = module({"logit": LogitLoss()})  # without adversarial loss the discriminator is unchanged
    before, start = state(untrained.discriminator), state(untrained.generator)
    fit(untrained, 2)
    assert same(before, state(untrained.discriminator))
    assert not same(start, state(untrained.generator))


@pytest.mark.parametrize("clip", [None, 0.1])
def test_the_norm_of_each_networks_gradient_is_kept_before_clipping(clip: float | None) -> None:
    trained = module(gradient_clip=clip, optimizer=SGD)
    start = {name: copy.deepcopy(getattr(trained, name)) for name in SGD}
    fit(trained, 1, log_every_n_steps=1)
    assert trained._gradient_norms.keys() == {"gradient/generator", "gradient/discriminator"}
    for name, before in start.items():
        after = getattr(trained, name)
        moved = torch.cat([(a - b).flatten() for a, b in zip(after.parameters(), before.parameters(), strict=True)])
        norm = trained._gradient_norms[f"gradient/{name}"].item()
        # SGD of rate 0.1 moves by a tenth of the gradient, clipped.
        assert moved.norm().item() == pytest.approx(0.1 * min(norm, clip or norm), rel=1e-3)
