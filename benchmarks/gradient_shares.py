"""Share of each loss term in the generator's gradient: the norm of its weighted gradient, relative to the sum of norms.

    python benchmarks/gradient_shares.py [Hydra overrides]

Trains with the given overrides, without Lightning, and prints the shares at a few steps. Terms with weight 0 are left
out. The default weights of the
terms in conf/loss were chosen with it.
"""

from collections.abc import Sequence

import torch

from common import argument_parser, parse, print_header, print_row
from deblurlab import config
from deblurlab.config import instantiate
from deblurlab.dataloading import KeyedBatchSampler, Stage
from deblurlab.datasets import PairDataset
from deblurlab.training.build import build, resolved_settings

STEPS = (1, 10, 50, 100, 200, 400, 700, 1000)
"""Steps at which shares are printed, up to `trainer.max_steps`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and print the shares."""
    parser = argument_parser(__doc__)
    parser.add_argument("overrides", nargs="*", help="config overrides")
    overrides = parse(parser, arguments).overrides
    cfg = config.compose(*overrides)
    module = build(cfg)
    data = instantiate(cfg.data)
    data.prepare()
    augmentations = {cfg.augment.size: instantiate(cfg.augment)}
    dataset = PairDataset(100 * [*data.items("train")], augmentations=augmentations, reader=data.read)
    stage = Stage(0, cfg.augment.size, cfg.loader.batch_size)
    batches = KeyedBatchSampler([len(dataset)], stages=[stage])
    loader = torch.utils.data.DataLoader(dataset, batch_sampler=batches, num_workers=2)
    factories = instantiate(cfg.optimizer)
    losses = {"discriminator": module.discriminator_losses, "generator": module.generator_losses}
    parameters = {
        n: [p for network in nets for p in network.parameters()] for n, nets in module.trained_networks.items()
    }
    optimizers = {name: factories[name](trained) for name, trained in parameters.items()}
    print(f"{', '.join(overrides) or 'defaults'}; {resolved_settings(module)}\n")
    print_header("step", "term", "share (%)", "value", "norm per unit of weight")
    for step, batch in enumerate(loader, start=1):
        (micro_batch,) = module.micro_batches(batch)
        for name in reversed(optimizers):  # discriminator first, as in the training step
            terms = {term: found for term, found in losses[name](micro_batch).items() if found[0]}
            if name == "generator" and step in STEPS:
                print_shares(step, parameters[name], terms)
            optimizers[name].zero_grad()
            sum(weight * value for weight, value in terms.values()).backward()
            optimizers[name].step()
        if step == min(cfg.trainer.max_steps, STEPS[-1]):
            return


def print_shares(step: int, parameters: list[torch.nn.Parameter], terms: dict[str, tuple[float, torch.Tensor]]) -> None:
    """Print each term's share of the sum of gradient norms, its value, and its norm per unit of weight."""
    norms = {}
    for name, (weight, value) in terms.items():
        gradients = torch.autograd.grad(weight * value, parameters, retain_graph=True, allow_unused=True)
        norms[name] = torch.cat([g.flatten() for g in gradients if g is not None]).norm().item()
    for name, norm in norms.items():
        share, value = 100 * norm / sum(norms.values()), terms[name][1].item()
        print_row(str(step), name, f"{share:.1f}", f"{value:.3g}", f"{norm / terms[name][0]:.2g}")


if __name__ == "__main__":
    main()
