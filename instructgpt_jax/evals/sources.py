"""Where the data of a task is: files of ours, or a public set by its name."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from instructgpt_jax.data import lines, schema
from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals import public
from instructgpt_jax.evals.task import MissingData, Settings

Record = dict[str, Any]
Fields = Mapping[str, type | tuple[type, ...]]
Located = tuple[Record, str]  # and its 'file:line'
Check = Callable[[Record, str], None]  # of a record and its place
ENDINGS = ('.jsonl.gz', '.jsonl.zst', '.jsonl')


def records(
  key: str, fields: Fields, settings: Settings, check: Check | None = None
) -> list[Record]:
  """Returns the records of a data set, at most `settings.limit` of them.

  Args:
    key: the name of the set and of its file: 'squad_v2'.
    fields: what every record must have, and of which type; `list` is one of
      texts that is not empty.
    settings: which folders and files there are.
    check: raises DataError for what is wrong beyond that.

  Raises:
    MissingData: where it is not here.
    DataError: with file and line, for a record that is not so.
  """
  read = _checked(_source(key, settings), fields, check)
  found = list(itertools.islice(read, settings.limit or None))
  if not found:
    raise DataError(f'{key}: no records. Refill its file.')
  return found


def shots(
  key: str,
  items: Sequence[Record],
  fields: Fields,
  settings: Settings,
  check: Check | None = None,
  *,
  usable: Callable[[Record], bool] = bool,
  alike: Callable[[Record], Any] | None = None,
) -> list[list[Record]]:
  """Returns `settings.shots` examples for each item, drawn by the seed.

  From the file of `shot_files`, else from the other items of the task: never
  the item itself, nor one of the same id or that is `alike`. Item i has its
  draw from (seed, i). Only those are shown that are `usable`.

  Raises:
    DataError: for fewer examples than shots.
  """
  if not settings.shots:
    return [[] for _ in items]
  pool = list(items)
  if settings.shot_files.get(key):
    path = pathlib.Path(settings.shot_files[key])
    lines.check_file(path, f'the examples of {key}')
    pool = list(_checked(_read(path), fields, check))
  pool = [record for record in pool if usable(record)]
  names = (_name,) if alike is None else (_name, alike)
  places: dict[Any, set[int]] = {}  # of what is so called, in the pool
  for place, record in enumerate(pool):
    for name in names:
      places.setdefault(name(record), set()).add(place)
  return [
    _drawn(key, pool, own, i, settings)
    for i, own in enumerate(
      set().union(*(places.get(name(item), ()) for name in names))
      for item in items
    )
  ]


def _name(record: Record) -> Any:
  return record['id'] if 'id' in record else id(record)


def _drawn(
  key: str, pool: list[Record], own: set[int], i: int, settings: Settings
) -> list[Record]:
  """Returns the shots of item i, which stands in the pool at `own`."""
  count = settings.shots or 0
  if len(pool) - len(own) < count:
    raise DataError(
      f'{key}: {count} shots of {len(pool) - len(own)} examples. Lower '
      'config.evaluate.shots, or give a larger file of examples.'
    )
  rng = np.random.default_rng((settings.seed, i))
  places = rng.choice(len(pool), count + len(own), replace=False)
  return [pool[j] for j in places if j not in own][:count]


def _source(key: str, settings: Settings) -> Iterator[Located]:
  """Returns the records of a set and their places, wherever it is."""
  given = settings.files.get(key, '')
  if given:
    path = pathlib.Path(given)
    lines.check_file(path, f'config.evaluate.files of {key}')
    return _read(path)
  for folder in settings.folders if key not in settings.files else ():
    for ending in ENDINGS:
      path = pathlib.Path(folder) / f'{key}{ending}'
      if path.is_file():
        return _read(path)
  if settings.online and key in public.SETS and key not in settings.files:
    return public.fetch(key)
  raise MissingData(_advice(key))


def _advice(key: str) -> str:
  online = ', or set config.evaluate.online' if key in public.SETS else ''
  return f'give {key}.jsonl.gz in one of config.evaluate.folders{online}'


def _read(path: pathlib.Path) -> Iterator[Located]:
  for line, where in lines.located(path):
    record = schema.parse(line, where)
    schema.check_object(record, where)
    yield record, where


def _checked(
  located: Iterator[Located], fields: Fields, check: Check | None
) -> Iterator[Record]:
  for record, where in located:
    for name, kind in fields.items():
      _check(record, name, kind, where)
    if check is not None:
      check(record, where)
    yield record


def _check(
  record: Record, name: str, kind: type | tuple[type, ...], where: str
) -> None:
  if name not in record:
    raise DataError(f'{where}: no field {name!r}. Add it.')
  value = record[name]
  if not isinstance(value, kind):
    raise DataError(f'{where}: {name} is a {type(value).__name__}. Correct it.')
  if isinstance(value, list) and not (
    value and all(isinstance(part, str) for part in value)
  ):
    raise DataError(
      f'{where}: {name} must be a list of texts, not empty. Correct it.'
    )
