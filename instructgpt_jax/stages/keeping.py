"""What an evaluation has computed of held-out prompts, kept as it comes."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from instructgpt_jax.evals import cache
from instructgpt_jax.runtime import progress
from instructgpt_jax.stages.session import Session, describe
from instructgpt_jax.types import Params

FILE = 'heldout'  # in evaluate/cache


class Kept:
  """Batches of numbers and texts that a killed evaluation need not repeat.

  A batch is on the disk whole or not at all, and what is asked of a model
  holds its hash. All processes of a job must ask the same.
  """

  def __init__(self, session: Session) -> None:
    self._answers = cache.Answers(
      session.run.folder('evaluate') / 'cache', FILE
    )

  def each(
    self, title: str, asked: Sequence[Any], compute: Callable[[int], Any]
  ) -> list[Any]:
    """Returns the answer to each: known, or compute(its number), as JSON.

    `compute` is called in order; `title` is what the progress bar shows.
    """
    names = [cache.key('heldout', one) for one in asked]
    found = self._answers.known(names)
    missing = [i for i, answer in enumerate(found) if answer is None]
    if not missing:
      return found
    bar = progress.Progress(title, len(missing), show=())
    bar.begin(0)
    with contextlib.closing(bar):
      for done, i in enumerate(missing, 1):
        found[i] = compute(i)
        self._answers.add([(names[i], found[i])])
        bar.update(done, {})
    return found


class Named:
  """A model's batches among those that are kept: under its own hash."""

  def __init__(
    self, kept: Kept, session: Session, model: Any, params: Params, name: str
  ) -> None:
    """Binds the model; `session` is the one with its tokenizer."""
    known = describe(model), session.tokenizer.fingerprint()
    self._kept, self._name = kept, name
    self._model = cache.fingerprint(params, *known)

  def each(
    self,
    what: str,
    asked: Sequence[Any],
    compute: Callable[[int], Any],
  ) -> list[Any]:
    """Returns the model's answer to each; see `Kept.each`."""
    whole = [[self._model, what, one] for one in asked]
    return self._kept.each(f'{self._name}: {what}', whole, compute)


def digest(*arrays: np.ndarray) -> str:
  """Returns a hash of arrays, to ask by."""
  found = hashlib.sha256()
  for x in arrays:
    found.update(f'{x.dtype}{x.shape}'.encode())
    found.update(np.ascontiguousarray(x).tobytes())
  return found.hexdigest()[:32]
