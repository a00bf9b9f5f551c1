"""Types of arrays that several folders use."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
"""An array of double-precision numbers. The function that takes or returns it documents its shape."""
