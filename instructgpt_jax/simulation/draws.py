"""Random draws that depend on nothing but a key.

Only `random.Random.random` is used: Python promises the same sequence for the
same seed in every version, which it does not for `choice` or `sample`.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

T = TypeVar('T')
H = TypeVar('H', bound=Hashable)


class Draw:
  """A stream of draws; equal keys give equal streams."""

  def __init__(self, *key: object):
    name = '/'.join(str(part) for part in key).encode()
    digest = hashlib.blake2b(name, digest_size=8).digest()
    self.uniform = random.Random(int.from_bytes(digest, 'big')).random

  def below(self, n: int) -> int:
    """Returns an integer of 0 .. n - 1."""
    return int(self.uniform() * n)

  def chance(self, p: float) -> bool:
    return self.uniform() < p

  def pick(self, items: Sequence[T]) -> T:
    return items[int(self.uniform() * len(items))]

  def other(self, items: Sequence[T], *taken: T) -> T:
    """Returns an item that is not among `taken`."""
    return self.pick([item for item in items if item not in taken])

  def several(self, items: Sequence[T], n: int) -> list[T]:
    """Returns n distinct items in random order."""
    pool = list(items)
    return [pool.pop(int(self.uniform() * len(pool))) for _ in range(n)]

  def weighted(self, weights: Mapping[H, float]) -> H:
    """Returns a key, each as often as its weight says."""
    left = self.uniform() * sum(weights.values())
    for item, weight in weights.items():
      left -= weight
      if left < 0:
        return item
    return item

  def normal(self) -> float:
    """Returns a draw close to N(0, 1): the sum of twelve uniforms, less 6."""
    return sum(self.uniform() for _ in range(12)) - 6.0
