"""Construction of the training module, the trainer and the loaders from a config."""

import copy
import inspect
import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytorch_lightning as pl
from hydra.errors import InstantiationException
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf, open_dict
from pytorch_lightning.callbacks import Callback
from torch import nn

from deblurlab.callbacks import ImageMetrics
from deblurlab.checkpoints.load import load_generator
from deblurlab.checkpoints.plugin import AtomicCheckpointIO
from deblurlab.config import find_target, instantiate, options
from deblurlab.config.networks import network_node
from deblurlab.dataloading import Augmentation, DataModule
from deblurlab.discriminators import Discriminator
from deblurlab.errors import UserError
from deblurlab.losses import DiscriminatorLoss, LossTerm
from deblurlab.losses.calls import as_loss_term
from deblurlab.training.module import Restoration
from deblurlab.training.settings import StepSettings

_LOG = logging.getLogger(__name__)
_MODULE_KEYS = {"gradient_clip_val": "module.gradient_clip", "accumulate_grad_batches": "module.accumulate"}
"""Options of Lightning's Trainer that manual optimization excludes, and the keys that replace them."""
_NODES = {"augment", "data", "discriminator", "loader", "model", "module", "protocol", "trainer"}
"""Keys of the config whose nodes are objects; other objects at the root are networks that `module` names."""


def build(cfg: DictConfig) -> Restoration:
    """Build the training module of a config, with random weights from its seed or the weights of `init`.

    Settings that loss terms resolve themselves, such as `weights: auto`, are written into the config. The global random
    generators are seeded with `seed`.

    Args:
        cfg: A config as `compose` returns it.

    Raises:
        UserError: A setting is invalid, or weights can't be read.

    Example:
        >>> import torch
        >>> from deblurlab.config import compose
        >>> module = build(compose("model=unet_res_small", "loss=l1+0.1*ssim"))
        >>> module.weights
        {'l1': 1.0, 'ssim': 0.1}
        >>> module(torch.zeros(1, 3, 40, 60)).shape  # restored images
        torch.Size([1, 3, 40, 60])
    """
    for key, ours in _MODULE_KEYS.items():
        if cfg.trainer.get(key) is not None:
            raise UserError(f"trainer.{key} doesn't work with manual optimization: use {ours}={cfg.trainer[key]}")
    if not isinstance(cfg.seed, int) or not 0 <= cfg.seed < 2**32:
        raise UserError(f"seed={cfg.seed} must be a whole number from 0 to {2**32 - 1}")
    if not isinstance(every := cfg.scheduler.get("every", 1), int) or every < 1:
        raise UserError(f"scheduler.every={every} must be a whole number, at least 1")
    pl.seed_everything(cfg.seed, verbose=False)
    terms, weights = _loss_terms(cfg)
    generator = instantiate(network_node(OmegaConf.to_container(cfg.model, resolve=True)))
    if cfg.init is not None:
        _LOG.info("Starting from the weights of %s.", load_generator(generator, cfg.init))
    adversarial = any(isinstance(term, DiscriminatorLoss) for term in terms.values())
    discriminator = instantiate(cfg.discriminator) if adversarial else None
    settings, make = _module_factory(cfg, adversarial=adversarial)
    discriminators = {name: value for name, value in make.keywords.items() if isinstance(value, Discriminator)}
    if discriminator is not None:
        _check_crop_size(cfg, {"discriminator": discriminator, **discriminators})
    _check_crop_size(cfg, terms)
    optimizer, scheduler = (instantiate(node) for node in (cfg.optimizer, cfg.scheduler))
    try:
        module: Restoration = make(
            generator=generator,
            discriminator=discriminator,
            terms=terms,
            weights=weights,
            optimizer=optimizer,
            scheduler=scheduler,
            settings=StepSettings(**settings, interval=cfg.scheduler.interval),
            seed=cfg.seed,
            record=OmegaConf.to_container(cfg, resolve=True),
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    return module


def resolved_settings(module: Restoration) -> dict[str, str]:
    """Return the settings that the loss terms of a module resolved themselves, such as `{"vgg weights": "random"}`."""
    terms = [(name, term) for name, term in module.terms.items() if isinstance(term, LossTerm)]
    return {f"{name} {key}": value for name, term in terms for key, value in term.resolved_settings().items()}


def _module_factory(cfg: DictConfig, *, adversarial: bool) -> tuple[dict[str, Any], Any]:
    """Split `cfg.module` into the settings of the step and the factory of the module with its further networks.

    Further discriminators are built only for an adversarial training.
    """
    container: Any = OmegaConf.to_container(cfg.module, resolve=True)
    node = {name: network_node(value) for name, value in container.items()}
    for key, network in cfg.items():
        name = str(key)
        if isinstance(network, DictConfig) and "_target_" in network and name not in {*_NODES, *node}:
            target = node["_target_"]
            raise UserError(
                f"{name}={network._target_} is unused, because module={target} has no network {name}: leave it out, or "
                f"choose module=cycle for a reblurrer"
            )
    settings = {f.name: node.pop(f.name) for f in fields(StepSettings) if f.name in node}
    if not adversarial:
        node = {name: None if _is_discriminator(value) else value for name, value in node.items()}
    return settings, instantiate(node)


def _is_discriminator(value: Any) -> bool:
    if not isinstance(value, dict) or "_target_" not in value:
        return False
    target = find_target(value)
    return isinstance(target, type) and issubclass(target, Discriminator)


def _loss_terms(cfg: DictConfig) -> tuple[dict[str, nn.Module], dict[str, float]]:
    """Build the loss terms; return them and their weights by name."""
    terms, weights = {}, {}
    for name, node in cfg.loss.items():
        if not isinstance(node, DictConfig):
            raise UserError(f"loss.{name}={node} isn't a loss term: loss.{name}.weight={node} changes its weight")
    with open_dict(cfg):  # an experiment may hold settings of terms that aren't chosen
        cfg.loss = {name: node for name, node in cfg.loss.items() if "_target_" in node}
    for name, node in cfg.loss.items():
        arguments: Any = OmegaConf.to_container(node, resolve=True)
        weights[name] = weight = arguments.pop("weight", 1.0)
        if not isinstance(weight, (int, float)):
            raise UserError(f"loss.{name}.weight={weight} isn't a number")
        terms[name] = term = _loss_term(str(name), arguments)
        for key, value in term.resolved_settings().items() if isinstance(term, LossTerm) else ():
            node[key] = value
    return terms, weights


def _loss_term(name: str, node: Mapping[str, Any]) -> nn.Module:
    try:
        return as_loss_term(name, instantiate(node))
    except InstantiationException as error:
        if isinstance(error.__cause__, TypeError) and inspect.isfunction(find_target(node)) and "_partial_" not in node:
            raise UserError(
                f"loss.{name}: {error.__cause__}; a function of images needs _partial_: true beside its _target_"
            ) from error
        raise


def build_data(cfg: DictConfig) -> DataModule:
    """Build the data module of a config, which also works without a trainer.

    Raises:
        UserError: A setting is invalid.
    """

    def make_augmentation(size: int) -> Augmentation:
        sized = copy.deepcopy(cfg)
        sized.augment.size = size
        return instantiate(sized.augment)

    try:
        make_loader = instantiate(cfg.loader)
        return make_loader(data=instantiate(cfg.data), augmentations=make_augmentation, size=cfg.augment.size)
    except (TypeError, ValueError) as error:
        raise UserError(f"the loader can't be built: {error}") from error


def build_trainer(cfg: DictConfig, callbacks: list[Callback]) -> tuple[pl.Trainer, DataModule]:
    """Build the trainer, with the given callbacks before those of the config, and the data module.

    Raises:
        UserError: A setting is invalid.
    """
    loggers = [instantiate(node) for node in (cfg.get("logger") or {}).values()]
    callbacks = [*callbacks, *(instantiate(node) for node in cfg.callbacks.values())]
    loader = build_data(cfg)
    plugins: list[Any] = [AtomicCheckpointIO()]
    if SLURMEnvironment.detect():
        # callbacks.preemption requeues between two steps; Lightning's handler may run within one.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    try:
        trainer = instantiate(cfg.trainer)(callbacks=callbacks, logger=loggers, plugins=plugins)
    except (MisconfigurationException, ModuleNotFoundError, TypeError, ValueError) as error:
        raise UserError(f"the trainer can't be built: {error}") from error
    return trainer, loader


def _check_crop_size(cfg: DictConfig, nodes: Mapping[str, Any]) -> None:
    """Raise UserError if crops are smaller than a discriminator or loss term needs."""
    size = min([cfg.augment.size, *(stage.size for stage in cfg.loader.schedule)])
    for name, node in nodes.items():
        if size < (needed := getattr(node, "min_size", 1)):
            raise UserError(f"augment.size={size} is too small for {name}, which needs at least {needed} pixels")


def check_monitor(cfg: DictConfig, image_metrics: ImageMetrics) -> None:
    """Raise UserError if the metric that selects the best checkpoint isn't measured."""
    monitor = (cfg.callbacks.get("checkpoints") or {}).get("monitor")
    metrics = [*image_metrics.measurement.names, *image_metrics.measurement.set_metrics]
    if monitor is not None and (name := monitor.removeprefix("val/")) in options("metric") and name not in metrics:
        raise UserError(
            f"callbacks.checkpoints.monitor={monitor} isn't among the measured metrics {', '.join(metrics)}: choose "
            f"one of them, or null to use the last checkpoint"
        )
