"""Settings of the training step."""

from dataclasses import dataclass
from typing import Literal, get_args

from deblurlab.training.memory_format import ChannelsLast
from deblurlab.training.multiscale import TargetScales

Interval = Literal["step", "epoch"]


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """Settings of the training step; the keys of the config group `module` and `scheduler.interval`.

    Raises:
        ValueError: A value is out of range.
    """

    n_critic: int | None = None
    """Discriminator updates per batch; None takes the number that the adversarial loss was published with."""
    discriminator_start: int = 0
    """First step that trains and uses the discriminator; until then losses that need it are 0."""
    image_pool: int = 0
    """Generated images that are kept per process for the discriminator's updates (CycleGAN: 50); 0 uses none."""
    history: int = 0
    """Batches whose mean logits relativistic losses compare with (DeblurGAN-v2: 50); 0 uses the current batch."""
    target_scales: TargetScales = "area"
    """Downsampling of sharp images for generators with several scales, see `multiscale.downsample`."""
    gradient_clip: float | None = None
    """Maximum norm of each network's gradient; None doesn't clip."""
    accumulate: int = 1
    """Micro-batches that a batch is split into. Batch norm sees one micro-batch at a time."""
    channels_last: ChannelsLast = "auto"
    """Memory format of networks and images; "auto" chooses for each network, see `choose_memory_format`."""
    compile: bool = False
    """Compile the networks with torch.compile, in place."""
    interval: Interval = "step"
    """Unit in which learning rate schedulers advance."""

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(f"accumulate={self.accumulate} must be at least 1")
        if self.interval not in get_args(Interval):
            raise ValueError(f"scheduler.interval={self.interval} is unknown: step or epoch")
        if self.target_scales not in (known := get_args(TargetScales)):
            raise ValueError(f"target_scales={self.target_scales} is unknown: {', '.join(known)}")
        if self.channels_last not in (True, False, "auto"):
            raise ValueError(f"channels_last={self.channels_last} is unknown: auto, true or false")
        if self.gradient_clip is not None and self.gradient_clip <= 0:
            raise ValueError(f"gradient_clip={self.gradient_clip} must be more than 0")
        if self.n_critic is not None and (self.n_critic < 1 or self.n_critic != int(self.n_critic)):
            raise ValueError(f"n_critic={self.n_critic} must be a whole number of at least 1")
        for name in ("discriminator_start", "image_pool", "history"):
            if (value := getattr(self, name)) < 0:
                raise ValueError(f"{name}={value} must be at least 0")
