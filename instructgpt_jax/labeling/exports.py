"""What labelers said as records of JSON Lines, as the stages read them.

All of it, or without what those said who were blocked (`blocked` is false). The
same answers make the same bytes, in whatever order they came. Answers to
screening and gold tasks stay out: they tell of labelers, not of outputs.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from instructgpt_jax import files
from instructgpt_jax.data import records
from instructgpt_jax.labeling import figures, said
from instructgpt_jax.labeling.said import Said
from instructgpt_jax.labeling.storage.models import (
  Flag,
  Labeler,
  Output,
  Prompt,
  Skip,
  Task,
)

Record = dict[str, Any]


def comparisons(
  session: orm.Session, *, blocked: bool = True
) -> Iterator[Record]:
  """Yields one record per ranking and comparison; ties are equal ranks.

  The responses stand in the order of the import, for all labelers the same.
  """
  for one in _work(session, said.Ranked, blocked):
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


def demonstrations(
  session: orm.Session, *, blocked: bool = True
) -> Iterator[Record]:
  """Yields one record per demonstration; of labelers held out none."""
  for one in _work(session, ('demonstration',), blocked):
    if one.group == 'heldout':  # to whom older versions handed them
      continue
    record = _record(one)
    response = one.payload['response']
    if 'messages' in record:
      reply = {'role': 'assistant', 'content': response}
      record['messages'] = [*record['messages'], reply]
    else:
      record['response'] = response
    yield records.validate(record, 'demonstrations', record['id'])


def ratings(session: orm.Session, *, blocked: bool = True) -> Iterator[Record]:
  """Yields one record per rating: quality 1 to 7, and flags (Table 3)."""
  for one in _work(session, ('rating',), blocked):
    (output,) = one.outputs
    yield _record(one) | {
      'response': output.text,
      'model': output.model,
      **one.payload,
    }


def flags(session: orm.Session, *, blocked: bool = True) -> Iterator[Record]:
  """Yields one record per flag; its `response` is null for one of a prompt."""
  texts = dict(
    session.execute(
      sa.select(Flag.id, Output.text).join(Output, Flag.output_id == Output.id)
    ).all()
  )
  for one, record in _remarks(session, Flag, blocked):
    said_of = {'response': texts.get(one.id)}
    yield record | said_of | {'flag': one.kind, 'note': one.note}


def skips(session: orm.Session, *, blocked: bool = True) -> Iterator[Record]:
  """Yields one record per task that somebody skipped."""
  for one, record in _remarks(session, Skip, blocked):
    yield record | {'reason': one.reason}


KINDS: dict[str, Callable[..., Iterator[Record]]] = {
  'comparisons': comparisons,
  'demonstrations': demonstrations,
  'ratings': ratings,
  'flags': flags,
  'skips': skips,
}


def write(
  session: orm.Session,
  folder: str | os.PathLike[str],
  *,
  blocked: bool = True,
) -> dict[str, int]:
  """Returns how many records of each kind it wrote to KIND.jsonl.

  Beside them figures.json has agreement, win rates, Likert and flag tables. A
  kind without answers has no file. Each appears whole or not at all.
  """
  counts = {}
  for kind, of_kind in KINDS.items():
    found = list(of_kind(session, blocked=blocked))
    if found:
      records.write_jsonl(pathlib.Path(folder) / f'{kind}.jsonl', found)
    counts[kind] = len(found)
  text = json.dumps(
    figures.tables(session, blocked=blocked), indent=2, allow_nan=False
  )
  files.write_text(pathlib.Path(folder) / 'figures.json', f'{text}\n')
  return counts


def _remarks(
  session: orm.Session, table: type[Flag] | type[Skip], blocked: bool
) -> Iterator[tuple[Any, Record]]:
  """Yields rows, and what their records say of whose and of what they are."""
  names = said.pseudonyms(session)
  rows = (
    sa.select(table, Prompt.key, Task.key, Labeler.id, Labeler.group)
    .join(Task, table.task_id == Task.id)
    .join(Prompt, Task.prompt_id == Prompt.id)
    .join(Labeler, table.labeler_id == Labeler.id)
    .where(*([] if blocked else [said.KEPT]))
    .order_by(Prompt.key, Task.key, Labeler.id, table.id)
  )
  for one, prompt, task, who, group in session.execute(rows):
    yield (
      one,
      {
        'prompt_id': prompt,
        'task': task,
        'labeler_id': names[who],
        'labeler_group': group,
      },
    )


def _work(
  session: orm.Session, kinds: tuple[str, ...], blocked: bool
) -> Iterator[Said]:
  every = said.read(session, kinds, blocked=blocked)
  found = (one for one in every if one.is_work)
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
