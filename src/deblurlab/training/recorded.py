"""Checkpoints of a training module: what they contain besides weights, and the module that they describe."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from deblurlab.errors import UserError
from deblurlab.runs.distributed import gather_state, own_state
from deblurlab.training.adversarial import AdversarialState
from deblurlab.training.optimization import ManualOptimization


class Recorded(ManualOptimization):
    """Training module whose checkpoints contain its config and adversarial states; arguments as for its base."""

    record: dict[str, Any]
    """The run's config."""
    adversarial_states: dict[str, AdversarialState]
    """Adversarial training state by domain ("sharp", "blurred")."""
    terms: nn.ModuleDict
    """Loss terms by name."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the run's config and the adversarial states; leave out the frozen networks of loss terms."""
        checkpoint["record"] = self.record
        states = {domain: state.state_dict() for domain, state in self.adversarial_states.items()}
        checkpoint["memory"] = gather_state(states)  # the key of older checkpoints
        for name in self._rebuilt():
            del checkpoint["state_dict"][name]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load the adversarial states and add the frozen networks of loss terms.

        Raises:
            UserError: The checkpoint belongs to another model, loss or module.
        """
        checkpoint["state_dict"] = self._with_rebuilt(checkpoint["state_dict"])
        states = checkpoint.get("memory")
        if not isinstance(states, list) or not states or states[0].keys() != self.adversarial_states.keys():
            raise UserError(
                "the checkpoint belongs to another module or version: init=<checkpoint> loads its weights only"
            )
        if mine := own_state(states, self.trainer):
            for domain, state in self.adversarial_states.items():
                state.load_state_dict(mine[domain], self.device)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # which builds a module from its constructor's arguments
        cls, checkpoint_path: str | Path, map_location: Any = None, *, trust: Sequence[str] = ()
    ) -> Self:
        """Build the module that a checkpoint records in its config, and load the checkpoint's weights.

        These are the weights of the latest step; `load_model` returns the generator with its averaged weights.

        Args:
            checkpoint_path: Checkpoint of a training.
            map_location: Device of the module, the CPU by default.
            trust: Packages, classes and functions outside of deblurlab that the checkpoint may name.

        Raises:
            UserError: The checkpoint can't be read, is of another class, or names something that isn't trusted.
        """
        from deblurlab.training.trusted import load_recorded  # which imports this class

        module, weights = load_recorded(Path(checkpoint_path), [*trust, f"{cls.__module__}.{cls.__qualname__}"])
        if not isinstance(module, cls):
            raise UserError(f"{checkpoint_path} holds a {type(module).__name__}, not a {cls.__name__}")
        module.load_state_dict(module._with_rebuilt(weights))
        return module.to(map_location or "cpu")

    def _with_rebuilt(self, loaded: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a checkpoint with those of the frozen networks of loss terms.

        Raises:
            UserError: The checkpoint belongs to another model or loss.
        """
        weights, rebuilt = self.state_dict(), self._rebuilt()
        expected = {name: value.shape for name, value in weights.items() if name not in rebuilt}
        if expected != {name: value.shape for name, value in loaded.items()}:
            raise UserError("the checkpoint belongs to another model or loss: init=<checkpoint> loads its weights only")
        return {**loaded, **{name: weights[name] for name in rebuilt}}

    def _rebuilt(self) -> list[str]:
        """Return the parameters that are built from the config and never stored: frozen networks of loss terms."""
        return [name for name, p in self.named_parameters() if name.startswith("terms.") and not p.requires_grad]
