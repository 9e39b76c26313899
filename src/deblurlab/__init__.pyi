from .checkpoints.load import load_model as load_model
from .config.compose import compose as compose
from .config.instantiation import instantiate as instantiate
from .evaluation.run import evaluate as evaluate
from .inference.predictor import Restorer as Restorer
from .training.build import build as build
from .training.build import build_data as build_data
from .training.run import train as train

__version__: str
