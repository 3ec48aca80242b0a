"""Answers of a model, kept on disk as they come, to be asked for once."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from instructgpt_jax import files
from instructgpt_jax.runtime import distributed
from instructgpt_jax.types import Params

FORMAT = 1  # raised when the same question gets another answer


def key(kind: str, *asked: Any) -> str:
  """Returns the name of a question: a hash of all that it depends on."""
  text = json.dumps([FORMAT, kind, *asked], ensure_ascii=True)
  return hashlib.sha256(text.encode()).hexdigest()[:32]


class Answers:
  """The answers of one model: FOLDER/<its hash>.jsonl, a line for each.

  Questions hold all that tasks and settings make of them, so a task that is
  asked again with the same settings, or that was killed half way, finds what
  was answered before. One process at a time may write.
  """

  def __init__(self, folder: str | os.PathLike[str], model: str) -> None:
    self.path = pathlib.Path(folder) / f'{model}.jsonl'
    self._known: dict[str, Any] = {}
    if distributed.is_main():
      self._read()

  def _read(self) -> None:
    """Reads what is there, without the line that a killed process left."""
    if not self.path.exists():
      return
    whole = 0
    with self.path.open('rb') as file:
      for line in file:
        try:
          name, answer = json.loads(line)
        except ValueError:
          break
        if not line.endswith(b'\n'):
          break
        whole += len(line)
        self._known[name] = answer
    if whole < self.path.stat().st_size:
      os.truncate(self.path, whole)

  def known(self, names: Iterable[str]) -> list[Any]:
    """Returns the answer to each question, None if it has none yet.

    The same in every process; all must call it in the same order.
    """
    return distributed.decide(lambda: [self._known.get(name) for name in names])

  def add(self, answers: Iterable[tuple[str, Any]]) -> None:
    """Keeps answers: they are on the disk when it returns."""
    if not distributed.is_main():
      return
    lines = []
    for name, answer in answers:
      self._known[name] = answer
      lines.append(json.dumps([name, answer]) + '\n')
    with files.naming(self.path):
      self.path.parent.mkdir(parents=True, exist_ok=True)
      with self.path.open('a', encoding='ascii') as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def fingerprint(params: Params, *also: Any) -> str:
  """Returns a hash of weights, wherever they lie, and of what else is given.

  Exact sums of integers: neither mesh nor file format changes it. `also` is
  what else decides the answers: settings of the model, the tokenizer's hash.
  """
  parts = [
    [
      jax.tree_util.keystr(path, simple=True, separator='/'),
      str(leaf.dtype),
      list(leaf.shape),
      distributed.fetch(_sums(leaf)).tolist(),
    ]
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
  ]
  return key('model', parts, json.loads(json.dumps(also, default=str)))


@jax.jit
def _sums(x: jax.Array) -> jax.Array:
  """Returns two weighted sums, mod 2**32, of the bits of an array."""
  bits = {2: jnp.uint16, 4: jnp.uint32}.get(x.dtype.itemsize, jnp.uint8)
  values = jax.lax.bitcast_convert_type(x, bits).astype(jnp.uint32)
  place = functools.reduce(
    lambda at, axis: (
      at * np.uint32(x.shape[axis])
      + jax.lax.broadcasted_iota(jnp.uint32, values.shape, axis)
    ),
    range(x.ndim),
    jnp.zeros(values.shape, jnp.uint32),
  )

  def mixed(seed: int) -> jax.Array:
    """A weight for each place, odd: a change of one bit changes the sum."""
    h = (place + np.uint32(seed)) * np.uint32(0x9E3779B1)
    h = (h ^ (h >> 15)) * np.uint32(0x85EBCA77)
    return (values * (h | 1)).sum(dtype=jnp.uint32)

  return jnp.stack([mixed(1), mixed(0x2545F491)])
