from .pairs import ImageSource as ImageSource
from .pairs import Synthesis as Synthesis
from .parameters import BlurKey as BlurKey
from .parameters import SynthesisParameters as SynthesisParameters
