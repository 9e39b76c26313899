from .inference.predictor import Restorer as Restorer

__version__: str
