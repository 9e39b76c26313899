"""How much each loss term pulls at the generator: the norm of its weighted gradient, as a share of all.

    python benchmarks/gradient_shares.py [hydra overrides]

Trains as the overrides say, without Lightning, and prints the shares at a few steps. The default weights of the terms
in conf/loss were chosen with it.
"""

import sys

import torch
from deblurlab.training.phases import total
from hydra.utils import instantiate

from deblurlab import config
from deblurlab.dataloading import KeyedBatches, Stage
from deblurlab.datasets import PairDataset
from deblurlab.training.run import build

STEPS = (1, 10, 50, 100, 200, 400, 700, 1000)
"""As far as `trainer.max_steps` goes."""


def main() -> None:
    cfg = config.compose(*sys.argv[1:])
    module, decided = build(cfg)
    data = instantiate(cfg.data, _convert_="all")
    data.prepare()
    augmentations = {cfg.augment.size: instantiate(cfg.augment, _convert_="all")}
    dataset = PairDataset(100 * data.train(), augmentations=augmentations, reader=data.reader())
    stage = Stage(0, cfg.augment.size, cfg.loader.batch_size)
    batches = KeyedBatches([len(dataset)], stages=[stage])
    loader = torch.utils.data.DataLoader(dataset, batch_sampler=batches, num_workers=2)
    factories = instantiate(cfg.optimizer, _convert_="all")
    names = {0: "generator", 1: "discriminator"}
    learnt = [[p for network in phase.networks for p in network.parameters()] for phase in module.phases]
    optimizers = [factories[names[phase.optimizer]](ps) for phase, ps in zip(module.phases, learnt, strict=True)]
    print(f"{', '.join(sys.argv[1:]) or 'defaults'}; {decided}")
    for step, batch in enumerate(loader, start=1):
        (example,) = module._examples(batch)
        for phase, optimizer in zip(module.phases, optimizers, strict=True):
            summands = phase.loss(example)
            if phase.optimizer == 0 and step in STEPS:
                print(f"step {step:4d}  " + "  ".join(_shares(learnt[-1], summands)), flush=True)
            optimizer.zero_grad()
            total(summands).backward()
            optimizer.step()
        if step == min(cfg.trainer.max_steps, STEPS[-1]):
            return


def _shares(parameters: list[torch.nn.Parameter], summands: dict[str, tuple[float, torch.Tensor]]) -> list[str]:
    norms = {}
    for name, (weight, value) in summands.items():
        gradients = torch.autograd.grad(weight * value, parameters, retain_graph=True, allow_unused=True)
        norms[name] = torch.cat([g.flatten() for g in gradients if g is not None]).norm().item()
    everything = sum(norms.values())
    return [
        f"{name}: {norm / everything:4.0%} (value {summands[name][1].item():.3g}, norm per unit of weight "
        f"{norm / summands[name][0]:.2g})"
        for name, norm in norms.items()
    ]


if __name__ == "__main__":
    main()
