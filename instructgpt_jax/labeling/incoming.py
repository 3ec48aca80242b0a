"""Records of JSON Lines as they come in, checked, before they are tasks.

What `collect` writes, or any file of these fields:

  prompt or messages   the one that must be there
  id                   of the prompt; a hash of it if absent
  responses[K]         or `response`, of one
  models[K]            or `model`: who wrote them; shown to admins alone
  ended[K], user_id    kept for the export
  priority, copies     of its tasks, in place of those of the settings
  kind, answer         one task of this kind alone, and its right answer
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from instructgpt_jax.data import lines, schema
from instructgpt_jax.data.curation.step import stable_hash
from instructgpt_jax.labeling import payloads
from instructgpt_jax.labeling.storage.models import KINDS, USES

DataError = schema.DataError
_USED = (
  *('id', 'prompt', 'user_id', 'responses', 'response', 'models', 'model'),
  *('ended', 'ranks', 'priority', 'copies', 'kind', 'answer'),
  *('labeler', 'labeler_id', 'group', 'gold'),  # of other labelers
)
_LARGEST = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Item:
  """A prompt with the outputs of one record, ready to be stored."""

  key: str
  text: str
  user: str | None
  extra: dict[str, Any]
  outputs: tuple[str, ...]
  models: tuple[str, ...]
  ended: tuple[bool, ...] | None
  priority: int
  copies: int | None
  kind: str  # '': those of the settings
  answer: dict[str, Any] | None
  where: str


def of_files(paths: Iterable[lines.Path], use: str = 'work') -> list[Item]:
  """Returns the items of files; raises DataError for the first fault."""
  found: list[Item] = []
  for path in map(pathlib.Path, paths):
    lines.check_file(path, 'label.files')
    found += _items(lines.located(path), use)
  return found


def of_bytes(
  body: bytes, use: str = 'work', name: str = 'upload'
) -> list[Item]:
  """Returns the items of what was uploaded; raises DataError."""
  rows = body.removeprefix(b'\xef\xbb\xbf').split(b'\n')
  numbered = ((row, f'{name}:{i}') for i, row in enumerate(rows, 1))
  found = list(_items(((r, w) for r, w in numbered if r.strip()), use))
  if not found:
    raise DataError(f'{name}: no record. Give JSON Lines, one record a line.')
  return found


def _items(located: Iterable[tuple[bytes, str]], use: str) -> Iterator[Item]:
  if use not in USES:
    raise ValueError(f'use is one of {USES}, not {use!r}.')
  for line, where in located:
    yield item(schema.parse(line, where), where, use)


def item(record: Any, where: str, use: str = 'work') -> Item:
  """Returns a record as an item; raises DataError where it is none."""
  schema.check_object(record, where)
  unnamed = 'id' not in record
  schema.validate({'id': '-', **record}, 'prompts', where)
  if unnamed:
    record = {'id': f'{stable_hash(_shown(record)):016x}', **record}
  outputs = _listed(record, 'response', 'responses', where)
  models = _listed(record, 'model', 'models', where)
  if models and len(models) != len(outputs):
    raise _unequal(where, 'models', len(models), len(outputs))
  kind, answer = _asked(record, len(outputs), where, use)
  stored = (record['id'], _shown(record), record.get('user_id') or '')
  if any('\0' in text for text in (*stored, *outputs, *models)):
    raise DataError(
      f'{where}: a NUL character, which no database stores. Remove it.'
    )
  return Item(
    key=stored[0],
    text=stored[1],
    user=record.get('user_id'),
    extra=_extra(record, shown=stored[1]),
    outputs=outputs,
    models=models or ('',) * len(outputs),
    ended=_ended(record, len(outputs), where),
    priority=_whole(record, 'priority', -_LARGEST, where) or 0,
    copies=_whole(record, 'copies', 1, where),
    kind=kind,
    answer=answer,
    where=where,
  )


def _extra(record: dict[str, Any], shown: str) -> dict[str, Any]:
  """Returns the other fields, and the prompt if labelers read more than it."""
  extra = {k: v for k, v in record.items() if k not in _USED}
  if 'prompt' in record:
    extra.pop('messages', None)
    if record['prompt'] != shown:
      extra['prompt'] = record['prompt']
  return extra


def _shown(record: dict[str, Any]) -> str:
  """Returns the prompt as labelers read it."""
  messages = record.get('messages') if 'prompt' not in record else None
  if messages is None:
    parts = [record.get('system') or '', record['prompt']]
    return '\n\n'.join(part for part in parts if part)
  return '\n\n'.join(f'{m["role"]}: {m["content"]}' for m in messages)


def _listed(
  record: dict[str, Any], one: str, many: str, where: str
) -> tuple[str, ...]:
  if one in record and many in record:
    raise DataError(f'{where}: {one!r} stands beside {many!r}. Keep one.')
  values = [record[one]] if one in record else record.get(many, [])
  if not isinstance(values, list):
    raise schema.wrong_type(where, many, 'a list', values)
  for i, value in enumerate(values):
    schema.check_string(value, f'{many}[{i}]', where)
  if len(values) > payloads.MOST:
    raise DataError(
      f'{where}: {len(values)} {many}, {payloads.MOST} are the most that '
      'people rank (InstructGPT A.3). Split the record.'
    )
  return tuple(values)


def _ended(
  record: dict[str, Any], outputs: int, where: str
) -> tuple[bool, ...] | None:
  ended = record.get('ended')
  if ended is None:
    return None
  if not isinstance(ended, list) or any(type(e) is not bool for e in ended):
    raise schema.wrong_type(where, 'ended', 'a list of true or false', ended)
  if len(ended) != outputs:
    raise _unequal(where, 'ended', len(ended), outputs)
  return tuple(ended)


def _whole(
  record: dict[str, Any], name: str, least: int, where: str
) -> int | None:
  value = record.get(name)
  if value is None:
    return None
  if type(value) is not int or not least <= value <= _LARGEST:
    raise schema.wrong_type(where, name, f'a whole number from {least}', value)
  return value


def _asked(
  record: dict[str, Any], outputs: int, where: str, use: str
) -> tuple[str, dict[str, Any] | None]:
  """Returns the kind of the one task that is asked for, and its answer.

  To admit and to check people, ranks of earlier labelers will do.
  """
  kind, answer = record.get('kind', ''), record.get('answer')
  if use != 'work' and answer is None and 'ranks' in record:
    schema.check_comparison(record, where)
    answer = {'ranks': payloads.dense(record['ranks'])}
  if use == 'screening':
    kind = 'screening'
  elif use == 'gold' and not kind:
    kind = 'ranking'
  if kind not in ('', *KINDS):
    raise schema.wrong_type(where, 'kind', f'one of {KINDS}', kind)
  if answer is None:
    if use != 'work' or kind == 'screening':
      raise DataError(
        f"{where}: no right answer. Add 'answer', or 'ranks' of the responses."
      )
    return kind, None
  if kind in ('', 'demonstration'):
    raise DataError(
      f"{where}: an answer needs the 'kind' of its task, and none can be right "
      'of a demonstration. Correct the record.'
    )
  try:
    checked = payloads.validate(kind, answer, outputs, longest=0)
  except payloads.AnswerError as error:
    raise DataError(f'{where}: answer: {error}. Correct the record.') from error
  # What it does not speak of is no part of the right answer.
  return kind, {part: checked[part] for part in answer}


def _unequal(where: str, name: str, found: int, outputs: int) -> DataError:
  return DataError(
    f'{where}: {found} {name} for {outputs} responses. Give each one.'
  )
