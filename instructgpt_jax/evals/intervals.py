"""95% intervals of means, shares, differences and win rates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from instructgpt_jax.data.agreement import wilson

Z95 = 1.959963984540054  # two-sided 95% point of the normal distribution
ROUNDING = 1e-6  # of sums that should be 1


class Interval(NamedTuple):
  """A mean with its 95% interval and the number of values behind it."""

  mean: float
  low: float
  high: float
  n: int

  def as_dict(self) -> dict[str, float | int]:
    """Returns the four fields by name, as report.json holds them."""
    return self._asdict()


def mean_interval(x: ArrayLike) -> Interval:
  """Returns mean +- 1.96 s / sqrt(n), s the sample deviation (n - 1).

  One value alone has no interval: low and high equal it.

  Raises:
    ValueError: if `x` is empty or a value is not finite.
  """
  x = _values(x, 'mean_interval')
  half = Z95 * x.std(ddof=1) / np.sqrt(x.size) if x.size > 1 else 0.0
  mean = x.mean()
  return Interval(
    float(mean), float(mean - half), float(mean + half), int(x.size)
  )


def bounded_interval(x: ArrayLike) -> Interval:
  """Returns the mean of figures in [0, 1] with an interval inside of it.

  Wilson's, for as many yes and no as would spread as the figures do: for
  shares it is Wilson's own, and where all figures are alike it is that of
  their number.

  Raises:
    ValueError: if `x` is empty or a value is not in [0, 1].
  """
  x = _values(x, 'bounded_interval')
  if not (x.min() >= -ROUNDING and x.max() <= 1 + ROUNDING):
    raise ValueError(f'bounded_interval: {x.min()} .. {x.max()}, not in [0, 1]')
  x = x.clip(0, 1)
  p, spread = float(x.mean()), float(x.var())
  worth = x.size * p * (1 - p) / spread if spread else x.size
  return share(p, worth)._replace(n=int(x.size))


def paired_interval(a: ArrayLike, b: ArrayLike) -> Interval:
  """Returns the interval of mean(a - b), where a[i] and b[i] share an item.

  Pairing takes the spread between items out, so the interval is narrower than
  that of two means apart. It is Student's; one item alone says nothing, its
  interval is infinite.
  """
  a, b = _pair(a, b, 'paired_interval')
  x = a - b
  mean, half = float(x.mean()), np.inf
  if x.size > 1:
    half = special.stdtrit(x.size - 1, 0.975) * x.std(ddof=1) / np.sqrt(x.size)
  return Interval(mean, float(mean - half), float(mean + half), int(x.size))


def paired_bounded(a: ArrayLike, b: ArrayLike) -> Interval:
  """Returns the same for figures in [0, 1].

  As Agresti and Min (2005) for shares: two more items of which half a one was
  gained, half a one lost, the interval around their mean. So it stays within
  [-1, 1], and winning all of few items is not certainty.
  """
  a, b = _pair(a, b, 'paired_bounded')
  x = a - b
  mean, n = float(x.mean()), x.size + 2
  centre = x.sum() / n
  half = Z95 * np.sqrt(((x**2).sum() + 1) / n - centre**2) / np.sqrt(n)
  low, high = min(centre - half, mean), max(centre + half, mean)
  return Interval(
    mean, float(max(low, -1.0)), float(min(high, 1.0)), int(x.size)
  )


def win_rate(a: ArrayLike, b: ArrayLike) -> Interval:
  """Returns how often a[i] > b[i], a tie counting one half.

  The interval is Wilson's: it stays inside [0, 1] and does not collapse when
  all are won. Ties make it slightly too wide, never too narrow.
  """
  a, b = _pair(a, b, 'win_rate')
  return share(float(np.where(a == b, 0.5, a > b).mean()), int(a.size))


def share(p: float, n: float) -> Interval:
  """Returns Wilson's interval of a share p of n independent cases."""
  low, high = wilson(p, n)
  # The interval holds p exactly, but for rounding at p = 0 and p = 1.
  return Interval(p, float(min(low, p)), float(max(high, p)), int(n))


def loss_difference(
  loss_a: ArrayLike, loss_b: ArrayLike, tokens: ArrayLike
) -> Interval:
  """Returns the difference in nats per token of two models, by documents.

  `loss_a[i]`, `loss_b[i]` are summed losses of document i, `tokens[i]` its
  length. The mean is sum(a - b) / sum(tokens); its deviation is that of a
  ratio estimator over documents (delta method), since tokens of one document
  are not independent.

  Raises:
    ValueError: for lengths that differ, or no token at all.
  """
  a, b = _pair(loss_a, loss_b, 'loss_difference')
  count = _values(tokens, 'loss_difference')
  if count.size != a.size:
    raise ValueError(
      f'loss_difference: {a.size} losses but {count.size} token counts'
    )
  if count.sum() <= 0 or (count < 0).any():
    raise ValueError('loss_difference: the token counts must be positive')
  mean = (a - b).sum() / count.sum()
  residual = (a - b - mean * count) / count.mean()
  spread = residual.std(ddof=1) if a.size > 1 else 0.0
  half = Z95 * spread / np.sqrt(a.size)
  return Interval(
    float(mean), float(mean - half), float(mean + half), int(a.size)
  )


def _values(x: ArrayLike, name: str) -> np.ndarray:
  x = np.asarray(x, np.float64).ravel()
  if not x.size:
    raise ValueError(f'{name}: no values')
  if not np.isfinite(x).all():
    raise ValueError(f'{name}: {(~np.isfinite(x)).sum()} values not finite')
  return x


def _pair(
  a: ArrayLike, b: ArrayLike, name: str
) -> tuple[np.ndarray, np.ndarray]:
  a, b = _values(a, name), _values(b, name)
  if a.size != b.size:
    raise ValueError(f'{name}: {a.size} values against {b.size}')
  return a, b
