"""What people said: the files that the labelling application exports.

  comparisons.jsonl  prompt · responses[K] · ranks[K] · models[K] · labeler
  ratings.jsonl      prompt · response · model · quality (1-7) · flags{name}

`models` names who wrote each response; a flag is true, false or, where there
was nothing to say of it, null.
"""

from __future__ import annotations

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


def comparisons(
  paths: Path | Sequence[Path], candidate: str, baseline: str
) -> tuple[list[Case], np.ndarray]:
  """Returns the cases of two models that people ranked, and what they said.

  1 is for the candidate, 0 for the baseline, 0.5 a tie. Each labeler and each
  two responses of the two models make a case; lengths are in characters.

  Raises:
    DataError: with file and line, for records that do not name the models,
      and where no record holds a response of both.
  """
  cases, said = [], []
  known: set[str] = set()
  for record, where in records.read_records(paths, 'comparisons'):
    models = _models(record, where)
    known.update(models)
    asked = {k: v for k, v in record.items() if k not in ('responses', 'ranks')}
    mine, theirs = (
      [k for k, name in enumerate(models) if name == wanted]
      for wanted in (candidate, baseline)
    )
    for i, j in itertools.product(mine, theirs):
      one, other = (_answer(record['responses'][k]) for k in (i, j))
      cases.append(Case(asked, one, other))
      said.append(0.5 * (1 + np.sign(record['ranks'][j] - record['ranks'][i])))
  if not cases:
    raise DataError(
      f'{paths}: no prompt has responses of both {candidate!r} and '
      f'{baseline!r}. Name two of {", ".join(sorted(known)) or "no models"}.'
    )
  return cases, np.array(said)


def _models(record: Record, where: str) -> list[str]:
  models = record.get('models')
  if not isinstance(models, list) or not all(
    isinstance(m, str) for m in models
  ):
    raise DataError(
      f"{where}: 'models' must name who wrote each response. Add it, or export "
      'the comparisons of models.'
    )
  if len(models) != len(record['responses']):
    raise DataError(
      f'{where}: {len(record["responses"])} responses, but {len(models)} '
      'models. Name one for each response.'
    )
  return models


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
  for field in ('prompt', 'model'):
    if not isinstance(record.get(field), str):
      raise schema.wrong_type(where, field, 'a string', record.get(field))
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
