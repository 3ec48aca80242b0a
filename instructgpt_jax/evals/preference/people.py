"""What people said: the files that the labelling application exports.

  comparisons.jsonl  prompt · responses[K] · ranks[K] · models[K] · labeler
  ratings.jsonl      prompt · response · model · quality (1-7) · flags{name}

`messages` may stand in place of a prompt. `models` names who wrote each
response: an export also holds rankings without, of one model's answers. A flag
is true, false or, where there was nothing to say of it, null.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from instructgpt_jax.data import lines, records, schema
from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals.preference.cases import Answer, Case

Path = str | os.PathLike[str]
Record = dict[str, Any]
QUALITY = range(1, 8)  # worst to best (InstructGPT B.5)


@dataclasses.dataclass(frozen=True)
class Said:
  """The comparisons of files, as far as they name who wrote the responses."""

  records: Sequence[Record]  # with `models`
  without_models: int  # how many others there are


def read(paths: Path | Sequence[Path]) -> Said:
  """Returns the checked records of comparisons.

  Raises:
    DataError: with file and line, for records that are none, or whose
      `models` are not those of their responses.
  """
  found = [
    (record, where)
    for record, where in records.read_records(paths, 'comparisons')
  ]
  named = [pair for pair in found if _names(pair[0])]
  for record, where in named:
    _check_models(record, where)
  return Said([record for record, _ in named], len(found) - len(named))


def comparisons(
  said: Said, candidate: str, baseline: str
) -> tuple[list[Case], np.ndarray]:
  """Returns the cases of two models that people ranked, and what they said.

  1 is for the candidate, 0 for the baseline, 0.5 a tie. Each labeler and each
  two responses of the two models make a case; lengths are in characters. None
  where no record holds a response of both.
  """
  cases, verdicts = [], []
  for record in said.records:
    models = record['models']
    asked = {k: v for k, v in record.items() if k not in ('responses', 'ranks')}
    mine, theirs = (
      [k for k, name in enumerate(models) if name == wanted]
      for wanted in (candidate, baseline)
    )
    for i, j in itertools.product(mine, theirs):
      one, other = (_answer(record['responses'][k]) for k in (i, j))
      cases.append(Case(asked, one, other))
      gap = record['ranks'][j] - record['ranks'][i]
      verdicts.append(0.5 * (1 + np.sign(gap)))
  return cases, np.array(verdicts)


def _names(record: Record) -> bool:
  """Returns whether anything is said of who wrote the responses.

  The labelling application writes empty names of responses without one.
  """
  models = record.get('models')
  return models is not None and not (
    isinstance(models, list) and not any(models)
  )


def _check_models(record: Record, where: str) -> None:
  models = record['models']
  if not isinstance(models, list) or not all(
    isinstance(m, str) for m in models
  ):
    raise schema.wrong_type(where, 'models', 'a list of names', models)
  if len(models) != len(record['responses']):
    raise DataError(
      f'{where}: {len(record["responses"])} responses, but {len(models)} '
      'models. Name one for each response.'
    )


def _answer(text: str) -> Answer:
  return Answer(text, len(text))


def ratings(paths: Path | Sequence[Path]) -> Iterator[Record]:
  """Yields the checked records of ratings.

  Raises:
    DataError: with file and line.
  """
  given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
  for file in map(pathlib.Path, given):
    lines.check_file(file, 'ratings')
    for line, where in lines.located(file):
      yield _rating(schema.parse(line, where), where)


def _rating(record: Any, where: str) -> Record:
  schema.check_object(record, where)
  asked = {k: v for k, v in record.items() if k != 'response'}
  schema.validate({'id': where} | asked, 'prompts', where)
  if not isinstance(record.get('model'), str):
    raise schema.wrong_type(where, 'model', 'a string', record.get('model'))
  quality = record.get('quality')
  if type(quality) is not int or quality not in QUALITY:
    raise schema.wrong_type(
      where, 'quality', 'a whole number from 1 to 7', quality
    )
  flags = record.setdefault('flags', {})
  known = isinstance(flags, dict) and all(
    value is None or isinstance(value, bool) for value in flags.values()
  )
  if not known:
    raise schema.wrong_type(
      where, 'flags', '{name: true, false or null}', flags
    )
  return record
