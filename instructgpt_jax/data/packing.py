"""Documents of any length into rows of one length, in one pass.

Streaming first fit: a document goes into the first open row with room. Only
so many rows are open at once; when none has room and no more may be opened,
the fullest is closed. Memory is bounded, and what comes out depends only on
what went in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

Ids = list[int]
Example = tuple[Ids, list[bool]]  # token ids and which of them are learned
Row = dict[str, np.ndarray]


def split_document(ids: Ids, length: int) -> Iterator[Example]:
  """Yields a document in pieces of at most `length` tokens, all learned.

  A piece begins with the last token of the piece before it: every token but
  the first of the document is predicted once, none without a context.
  """
  if length < 2:
    raise ValueError(f'length = {length}: a row needs room for 2 tokens.')
  for start in range(0, max(len(ids) - 1, 1), length - 1):
    piece = ids[start : start + length]
    yield piece, [True] * len(piece)


def pack(
  examples: Iterable[Example],
  length: int,
  *,
  open_rows: int = 64,
  pad_id: int = 0,
) -> Iterator[Row]:
  """Yields rows {tokens, loss_mask, segments, positions}, each [length].

  `segments` counts the documents of a row from 1 and is 0 on pads;
  `positions` restarts at 0 in each. `loss_mask` is False on pads and on the
  first token of a segment, which nothing in its segment predicts. Empty
  examples are left out. Raises ValueError where one is longer than a row.
  """
  if length < 1 or open_rows < 1:
    raise ValueError(f'{length=} and {open_rows=} must be at least 1.')
  rows: list[list[Example]] = []
  used: list[int] = []
  for ids, learned in examples:
    size = len(ids)
    if size != len(learned):
      raise ValueError(f'{size} tokens but {len(learned)} loss flags.')
    if size > length:
      raise ValueError(
        f'An example of {size} tokens does not fit a row of {length}: cut '
        'or drop it before packing.'
      )
    if not size:
      continue
    place = next((i for i, n in enumerate(used) if n + size <= length), None)
    if place is None and len(rows) == open_rows:
      fullest = max(range(open_rows), key=used.__getitem__)
      yield _close(rows.pop(fullest), length, pad_id)
      used.pop(fullest)
    if place is None:
      rows.append([])
      used.append(0)
      place = -1
    rows[place].append((ids, learned))
    used[place] += size
    if used[place] == length:
      yield _close(rows.pop(place), length, pad_id)
      used.pop(place)
  for row in rows:
    yield _close(row, length, pad_id)


def _close(parts: list[Example], length: int, pad_id: int) -> Row:
  row = {
    'tokens': np.full(length, pad_id, np.int32),
    'loss_mask': np.zeros(length, bool),
    'segments': np.zeros(length, np.int32),
    'positions': np.zeros(length, np.int32),
  }
  start = 0
  for segment, (ids, learned) in enumerate(parts, 1):
    end = start + len(ids)
    row['tokens'][start:end] = ids
    row['loss_mask'][start + 1 : end] = learned[1:]
    row['segments'][start:end] = segment
    row['positions'][start:end] = np.arange(len(ids))
    start = end
  return row
