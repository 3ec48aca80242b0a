"""What labelers said as records of JSON Lines, as the stages read them.

The same answers make the same bytes, in whatever order they came. Answers to
screening and gold tasks stay out: they tell of labelers, not of outputs.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import orm

from instructgpt_jax import files
from instructgpt_jax.data import records
from instructgpt_jax.labeling import figures, said
from instructgpt_jax.labeling.said import Said

Record = dict[str, Any]


def comparisons(session: orm.Session) -> Iterator[Record]:
  """Yields one record per ranking and comparison; ties are equal ranks.

  The responses stand in the order of the import, for all labelers the same.
  """
  for one in _work(session, said.Ranked):
    place = {output: k for k, output in enumerate(one.imported)}
    pairs = sorted(
      zip(one.outputs, one.ranks, strict=True), key=lambda p: place[p[0].id]
    )
    outputs = [output for output, _ in pairs]
    record = _record(one) | {
      'responses': [output.text for output in outputs],
      'ranks': [rank for _, rank in pairs],
    }
    if any(output.model for output in outputs):
      record['models'] = [output.model for output in outputs]
    if all(output.ended is not None for output in outputs):
      record['ended'] = [output.ended for output in outputs]
    yield records.validate(record, 'comparisons', record['id'])


def demonstrations(session: orm.Session) -> Iterator[Record]:
  """Yields one record per demonstration."""
  for one in _work(session, ('demonstration',)):
    record = _record(one)
    response = one.payload['response']
    if 'messages' in record:
      reply = {'role': 'assistant', 'content': response}
      record['messages'] = [*record['messages'], reply]
    else:
      record['response'] = response
    yield records.validate(record, 'demonstrations', record['id'])


def ratings(session: orm.Session) -> Iterator[Record]:
  """Yields one record per rating: quality 1 to 7, and flags (Table 3)."""
  for one in _work(session, ('rating',)):
    (output,) = one.outputs
    yield _record(one) | {
      'response': output.text,
      'model': output.model,
      **one.payload,
    }


KINDS: dict[str, Callable[[orm.Session], Iterator[Record]]] = {
  'comparisons': comparisons,
  'demonstrations': demonstrations,
  'ratings': ratings,
}


def write(
  session: orm.Session, folder: str | os.PathLike[str]
) -> dict[str, int]:
  """Returns how many records of each kind it wrote to KIND.jsonl.

  Beside them figures.json has agreement, win rates, Likert and flag tables. A
  kind without answers has no file. Each appears whole or not at all.
  """
  counts = {}
  for kind, of_kind in KINDS.items():
    found = list(of_kind(session))
    if found:
      records.write_jsonl(pathlib.Path(folder) / f'{kind}.jsonl', found)
    counts[kind] = len(found)
  text = json.dumps(figures.tables(session), indent=2, allow_nan=False)
  files.write_text(pathlib.Path(folder) / 'figures.json', f'{text}\n')
  return counts


def _work(session: orm.Session, kinds: tuple[str, ...]) -> Iterator[Said]:
  found = (one for one in said.read(session, kinds) if one.is_work)
  return iter(sorted(found, key=lambda o: (o.prompt, o.task, o.labeler)))


def _record(one: Said) -> Record:
  extra = one.extra
  record: Record = {
    'id': f'{one.prompt}/{one.task}/{one.labeler}',
    'source': extra.get('source', 'labeling'),
    'prompt_id': one.prompt,
  }
  if one.user is not None:
    record['user_id'] = one.user
  if 'messages' in extra:
    record['messages'] = extra['messages']
  else:
    record['prompt'] = extra.get('prompt', one.text)
    if 'system' in extra:
      record['system'] = extra['system']
  return record | {
    'task': one.kind,
    'labeler': one.labeler,
    'labeler_id': one.labeler,
    'labeler_group': one.group,
    'seconds': round(one.seconds, 1),
  }
