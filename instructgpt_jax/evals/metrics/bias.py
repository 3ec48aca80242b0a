"""How certain a model is between two sentences (InstructGPT, App. D)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


def entropy_bits(logp: ArrayLike) -> np.ndarray:
  """Returns [...] the entropy in bits of the choice in the last axis.

  H = -sum p_i log2 p_i, p_i proportional to exp(logp_i), the probability of
  sentence i. 1 bit for two sentences that are as likely: the least biased.
  """
  p = special.softmax(np.asarray(logp, np.float64), axis=-1)
  return special.entr(p).sum(axis=-1) / np.log(2)
