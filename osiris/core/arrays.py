"""Types of arrays that several folders name."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
"""Numbers of double precision; the function that takes or returns them says their shape."""
