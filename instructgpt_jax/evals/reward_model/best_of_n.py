"""What choosing the best of n samples by a reward model is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.special
import scipy.stats
from numpy.typing import ArrayLike

from instructgpt_jax.evals import intervals


def curve(
  proxy: ArrayLike, worth: ArrayLike, sizes: Sequence[int] = ()
) -> list[dict[str, Any]]:
  """Returns {n, kl, proxy, worth} for n = 1, 2, 4, ... up to N.

  From N samples of each prompt the mean over all choices of n of them, which
  is unbiased (WebGPT, app. I). `kl` is how far the best of n lies from the
  policy, log n - (n - 1) / n nats; `proxy` and `worth` are {mean, low, high,
  n} over prompts. Rising proxy and falling worth are over-optimisation (Gao et
  al. 2022).

  Args:
    proxy: [prompts N] the scores by which one is chosen.
    worth: [prompts N] what is gained, such as the gold score.
    sizes: other n, each 1 to N.

  Raises:
    ValueError: for shapes that differ, or n that cannot be.
  """
  scores, gains = np.asarray(proxy, np.float64), np.asarray(worth, np.float64)
  if scores.ndim != 2 or scores.shape != gains.shape or not scores.size:
    raise ValueError(
      f'proxy {scores.shape} and worth {gains.shape} must be [prompts N]'
    )
  samples = scores.shape[1]
  wanted = list(sizes) or [2**i for i in range(samples.bit_length())]
  if min(wanted) < 1 or max(wanted) > samples:
    raise ValueError(f'best of {wanted}: there are {samples} samples a prompt')
  above = scipy.stats.rankdata(scores, 'max', axis=1).astype(int)
  below = scipy.stats.rankdata(scores, 'min', axis=1).astype(int) - 1
  found = []
  for n in wanted:
    chosen = _chances(above, below, n, samples)
    mean = lambda x: intervals.mean_interval((chosen * x).sum(1)).as_dict()  # noqa: B023, E731
    found.append(
      {
        'n': n,
        'kl': math.log(n) - (n - 1) / n,
        'proxy': mean(scores),
        'worth': mean(gains),
      }
    )
  return found


def _chances(
  above: np.ndarray, below: np.ndarray, n: int, samples: int
) -> np.ndarray:
  """Returns the chance of each sample to be the best of n of all.

  C(j, n) / C(N, n) is the chance that all n are among the lowest j; samples
  of one score share what is theirs.
  """
  ranks = np.arange(samples + 1)
  log = lambda x: scipy.special.gammaln(np.maximum(x, 0) + 1)  # noqa: E731
  within = np.exp(log(ranks) - log(ranks - n) - log(samples) + log(samples - n))
  within = np.where(ranks < n, 0.0, within)
  return (within[above] - within[below]) / (above - below)
