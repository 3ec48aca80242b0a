"""Texts written in rounds: who is done leaves, the others go on together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np

from instructgpt_jax.data.tokenizer import Tokenizer
from instructgpt_jax.evals import trees

ROUND = 64  # tokens: what one program writes before texts are looked at


@dataclasses.dataclass
class Text:
  """A prompt and what has been written after it."""

  index: int  # of the prompt, which its noise depends on
  prompt: list[int]
  written: list[int]

  @property
  def ids(self) -> list[int]:
    return self.prompt + self.written


@dataclasses.dataclass(frozen=True)
class Ends:
  """When a text is at its end."""

  tokenizer: Tokenizer
  max_tokens: int
  stop: tuple[str, ...]

  def ids(self) -> list[int]:
    """Returns tokens that end a text: EOS, and those that hold a stop string.

    A stop string over several tokens ends it at the end of a round.
    """
    held = [
      i
      for i, piece in _texts(self.tokenizer).items()
      if any(stop in piece for stop in self.stop)
    ]
    return sorted({*self.tokenizer.stop_ids, *held})

  def reached(self, written: Sequence[int]) -> bool:
    """Returns whether nothing is to be written after these ids."""
    if len(written) >= self.max_tokens:
      return True
    if not set(self.tokenizer.stop_ids).isdisjoint(written):
      return True
    text = self.tokenizer.decode(written)
    return any(stop in text for stop in self.stop)

  def text(self, written: Sequence[int]) -> str:
    """Returns what counts: cut before EOS and the first stop string."""
    kept = list(written[: self.max_tokens])
    for i, token in enumerate(kept):
      if token in self.tokenizer.stop_ids:
        kept = kept[:i]
        break
    text = self.tokenizer.decode(kept)
    cuts = [text.find(stop) for stop in self.stop if stop in text]
    return text[: min(cuts)] if cuts else text


@functools.lru_cache(maxsize=2)
def _texts(tokenizer: Tokenizer) -> dict[int, str]:
  """Returns {id: text} of the tokens that can stand in a text."""
  return {i: tokenizer.decode([i]) for i in tokenizer.pieces}


def batches(
  texts: Sequence[Text], *, size: int, ways: int, tokens: int, longest: int
) -> Iterator[tuple[list[Text], int, int]]:
  """Yields (texts, rows, prompt length): like lengths together.

  Args:
    texts: that go on.
    size: tokens that are written in this round.
    ways: what the number of rows must be a multiple of.
    tokens: about how many a batch holds.
    longest: tokens that prompt and response may have together.
  """
  waiting = sorted(texts, key=lambda t: (-len(t.ids), t.index))
  while waiting:
    length = min(trees.rounded(len(waiting[0].ids), 16), longest - size)
    rows = trees.size(len(waiting), tokens // (length + size), ways)
    yield waiting[:rows], rows, length
    waiting = waiting[rows:]


def padded(
  texts: Sequence[Text], rows: int, length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns left-padded tokens [B P], mask [B P] and row_id [B].

  Rows after the given ones are empty, and write nothing.
  """
  tokens = np.zeros((rows, length), np.int32)
  mask = np.zeros((rows, length), bool)
  row_id = np.zeros(rows, np.int32)
  for i, text in enumerate(texts):
    ids = text.ids[-length:]
    tokens[i, length - len(ids) :] = ids
    mask[i, length - len(ids) :] = True
    row_id[i] = text.index
  return tokens, mask, row_id
