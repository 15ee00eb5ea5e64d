"""Element-wise operations in plain NumPy."""

import numpy as np


def relu(x):
    return np.where(np.isnan(x), x, np.maximum(x, 0))
