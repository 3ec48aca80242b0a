"""Requests into rows of one length, what they have in common held once.

Texts that begin alike (choices after one question, questions after the same
examples) become a tree; trees fill rows as well as they fit. So there are few
shapes to compile for, hardly a pad, and no token is computed twice in a row.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from instructgpt_jax.steps.scoring import Reads, Trees

SHARED = 8  # tokens: texts with fewer in common stand apart


class Asked(NamedTuple):
  """Token ids, of which the last so many are to be scored."""

  ids: tuple[int, ...]
  scored: int


class Row:
  """Trees beside each other, of at most `length` tokens together."""

  def __init__(self) -> None:
    self.tokens: list[int] = []
    self.positions: list[int] = []
    self.segments: list[int] = []
    self.last: list[int] = []
    self.reads: list[tuple[int, int, int]] = []  # slot, target, request
    self._path: list[int] = []  # slots of the text put in last

  def put(self, asked: Asked, request: int, shared: int) -> None:
    """Puts a text in, whose first `shared` tokens are those of the last one.

    With nothing shared it begins a tree.
    """
    ids = asked.ids[:-1]
    tree = self.segments[-1] if self.segments else 0
    tree += not shared
    self._path = self._path[:shared]
    for depth in range(shared, len(ids)):
      self._path.append(len(self.tokens))
      self.tokens.append(ids[depth])
      self.positions.append(depth)
      self.segments.append(tree)
      self.last.append(0)
    for slot in self._path:
      self.last[slot] = len(self.tokens)
    first = len(ids) - asked.scored
    for slot, target in zip(
      self._path[first:], asked.ids[first + 1 :], strict=True
    ):
      self.reads.append((slot, target, request))


class _Tree(NamedTuple):
  """Requests in order, and how many tokens each shares with the one before."""

  size: int
  members: list[tuple[int, int]]


def packed(
  requests: Sequence[Asked], lengths: Sequence[int], *, share: bool
) -> dict[int, list[Row]]:
  """Returns {length: rows}, longest first; of rows those with most reads.

  Args:
    requests: of at least one token before those that are scored.
    lengths: of rows, rising. A text stands in the shortest row that is twice
      as long, if there is one, so that little of it is left empty.
    share: whether common beginnings are held once.

  Raises:
    ValueError: for a text that is longer than any row.
  """
  waiting: dict[int, list[_Tree]] = {}
  for length, tree in _trees(requests, lengths, share):
    waiting.setdefault(length, []).append(tree)
  return {
    length: sorted(
      _fill(requests, waiting[length], length), key=lambda r: -len(r.reads)
    )
    for length in sorted(waiting, reverse=True)
  }


def _trees(
  requests: Sequence[Asked], lengths: Sequence[int], share: bool
) -> Iterator[tuple[int, _Tree]]:
  """Yields (length of the row, tree), in the order of the tokens."""
  order = sorted(range(len(requests)), key=lambda i: requests[i].ids[:-1])
  room = size = 0
  members: list[tuple[int, int]] = []
  before: tuple[int, ...] = ()
  for i in order:
    ids = requests[i].ids[:-1]
    common = _common(before, ids) if share else 0
    before = ids
    alike = common >= min(SHARED, len(ids))
    if members and alike and size + len(ids) - common <= room:
      members.append((i, common))
      size += len(ids) - common
      continue
    if members:
      yield room, _Tree(size, members)
    room, size, members = _room(len(ids), lengths), len(ids), [(i, 0)]
  if members:
    yield room, _Tree(size, members)


def _room(size: int, lengths: Sequence[int]) -> int:
  if size > lengths[-1]:
    raise ValueError(f'{size} tokens in a row of {lengths[-1]}')
  return next((n for n in lengths if n >= 2 * size), lengths[-1])


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
  """Returns how many tokens two texts begin with in common."""
  most = min(len(a), len(b))
  if a[:most] == b[:most]:
    return most
  x, y = np.array(a[:most]), np.array(b[:most])
  return int((x != y).argmax())


def _fill(
  requests: Sequence[Asked], trees: list[_Tree], length: int
) -> Iterator[Row]:
  """Yields rows: the largest tree, then the largest that still fits."""
  held = sorted((tree.size, -i) for i, tree in enumerate(trees))
  while held:
    row, room = Row(), length
    while place := bisect.bisect_left(held, (room + 1,)):
      size, i = held.pop(place - 1)
      room -= size
      for request, shared in trees[-i].members:
        row.put(requests[request], request, shared)
    yield row


def batch(rows: Sequence[Row], size: int, length: int) -> tuple[Trees, Reads]:
  """Returns host arrays of `size` rows, those after the given ones empty.

  Reads are padded to a number of few, so that few programs are compiled.
  """

  def filled(lists: list[list[int]], width: int) -> Any:
    made = np.zeros((size, width), np.int32)
    for row, values in zip(made, lists, strict=False):
      row[: len(values)] = values
    return made

  reads = rounded(max(len(row.reads) for row in rows))
  trees = Trees(
    tokens=filled([row.tokens for row in rows], length),
    positions=filled([row.positions for row in rows], length),
    segments=filled([row.segments for row in rows], length),
    last=filled([row.last for row in rows], length),
  )
  return trees, Reads(
    slots=filled([[slot for slot, _, _ in row.reads] for row in rows], reads),
    targets=filled(
      [[token for _, token, _ in row.reads] for row in rows], reads
    ),
  )


def size(count: int, most: int, ways: int) -> int:
  """Returns how many rows the next batch of `count` has: `most`, or fewer.

  Of few that are left a power of 2, so that it is not mostly empty and there
  are few shapes to compile for; always a multiple of `ways`.
  """
  enough = 1 << (-(-count // ways) - 1).bit_length()
  return min(max(1, most // ways), enough) * ways


def rounded(n: int, least: int = 8) -> int:
  """Returns the next of 8, 12, 16, 24, 32, ...: at most half as many again."""
  size = least
  while size < n:
    size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
  return size
