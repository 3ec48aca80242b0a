"""From texts to token ids, by the batch, with one rule for what is too long."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Iterator, Sequence

from instructgpt_jax.data.records import DataError, Located
from instructgpt_jax.data.tokenizer import Tokenizer

Ids = list[int]
OVER_LENGTH = ('drop', 'truncate_left')
_CHUNK = 256  # records that are tokenized in one call


def check_rule(over_length: str, length: int) -> None:
  """Raises ValueError for a rule or a length that cannot be meant."""
  if over_length not in OVER_LENGTH:
    raise ValueError(
      f'over_length = {over_length!r} is unknown: choose one of {OVER_LENGTH}.'
    )
  if length < 2:
    raise ValueError(f'length = {length}: at least 2 tokens are needed.')


def encoded(
  records: Iterable[Located],
  tokenizer: Tokenizer,
  fields: Sequence[str],
  stats: collections.Counter[str],
) -> Iterator[tuple[Located, list[list[Ids]]]]:
  """Yields each record with the ids of its fields: [field][text] -> ids.

  A field is a text or a list of texts. Raises DataError where a text that
  should hold something has no tokens.
  """
  remaining = iter(records)
  while chunk := list(itertools.islice(remaining, _CHUNK)):
    texts = [
      [_as_list(record[field]) for field in fields] for record, _ in chunk
    ]
    flat = itertools.chain.from_iterable
    ids = iter(tokenizer.encode_batch(list(flat(flat(texts)))))
    for located, groups in zip(chunk, texts, strict=True):
      found = [[next(ids) for _ in group] for group in groups]
      if not all(map(all, found)):
        raise DataError(
          f'{located[1]}: a text has no token in this tokenizer. Remove the '
          'record or use a byte-level tokenizer.'
        )
      stats['read'] += 1
      yield located, found


def fit_prompt(
  prompt: Ids,
  room: int,
  over_length: str,
  stats: collections.Counter[str],
) -> Ids | None:
  """Returns the prompt cut to `room` tokens, None if it is to be dropped.

  'truncate_left' keeps the end of the prompt, which is nearest to the
  response. What leaves no room for a prompt token is dropped by any rule.
  Counts into `stats`.
  """
  if len(prompt) <= room:
    return prompt
  if over_length == 'drop' or room < 1:
    stats['dropped_long'] += 1
    return None
  stats['truncated'] += 1
  return prompt[-room:]


def _as_list(value: str | list[str]) -> list[str]:
  return [value] if isinstance(value, str) else value
