"""Tasks asked of all models: what each gets, zero-shot and with examples."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from instructgpt_jax.evals import cache, harness, registry, tables
from instructgpt_jax.evals.engine import Engine
from instructgpt_jax.evals.model import CannotAnswerError, Model
from instructgpt_jax.evals.passes import Devices, Passes
from instructgpt_jax.evals.reward_model.scorer import Scorer
from instructgpt_jax.evals.task import Settings, Task
from instructgpt_jax.evals.tasks import probes, toxicity, truthfulqa
from instructgpt_jax.stages import (
  candidates,
  layouts,
  preferring,
  prompted,
  reward_tables,
  sources,
)
from instructgpt_jax.stages.session import Session, describe

ALL = ('all',)
PAIRS = "give (('KEY', 'FILE'),), a key and a file for each"


def names(config: ConfigDict) -> tuple[str, ...]:
  """Returns the tasks that are asked, in order."""
  given = tuple(config.evaluate.tasks)
  if given != ALL:
    return given
  trained = config.init.run or config.stages != ('evaluate',)
  world = config.data.source == 'world' and trained
  every = *registry.TASKS, *registry.OF_REWARD
  return tuple(name for name in every if world or name not in probes.OF_WORLD)


def task_settings(
  config: ConfigDict, shots: int | None, folder: pathlib.Path | None = None
) -> Settings:
  """Returns what the tasks are made with.

  What servers answer is kept in `folder` where no other place is given.
  """
  evaluate = config.evaluate
  toxic, truth = evaluate.toxicity.to_dict(), evaluate.truth.to_dict()
  if folder is not None:
    toxic['answers'] = toxic['answers'] or str(folder / 'toxicity.sqlite')
    truth['answers'] = truth['answers'] or str(folder / 'truth.sqlite')
  return Settings(
    folders=tuple(evaluate.folders),
    files=dict(evaluate.files),
    online=evaluate.online,
    shots=shots,
    shot_files=dict(evaluate.shot_files),
    seed=config.seed,
    limit=evaluate.limit,
    options={toxicity.KEY: toxic, truthfulqa.KEY: truth},
  )


Made = dict[int | None, dict[str, Task | str]]


def made(config: ConfigDict, folder: pathlib.Path | None = None) -> Made:
  """Returns {shots: {name: task, or what to give for it}}.

  Without shots, tasks of the harness take as many as they say themselves.

  Raises:
    DataError: for a name that is no task, and for data that is damaged.
    ImportError: without a library that a task needs.
  """
  given, found = config.evaluate.shots, names(config)
  if config.evaluate.harness:
    return {
      shots: harness.made(found, task_settings(config, shots))
      for shots in given or (None,)
    }
  return {
    shots: registry.made(some, task_settings(config, shots, folder))
    for shots, some in registry.asked(found, given).items()
  }


def run(
  session: Session,
  folders: Mapping[str, pathlib.Path],
  prefix: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Returns {'tasks': the lines of `tables.table`} of all models.

  And of the base model behind the `text` of a prefix, where there is one.

  What they answer is kept as it comes, under the hash of each model: an
  evaluation that was killed goes on, and one of more tasks asks those alone.
  """
  tasks, scored = _parted(made(session.config, session.run.folder('evaluate')))
  rows: dict[str, list[registry.Row]] = {}
  for name, folder in folders.items():
    rows |= _of_model(session, name, folder, tasks, prefix)
  over = 'base' if 'base' in rows else next(iter(rows), '')
  if scored:
    rows[preferring.REWARD] = _of_reward(session, scored)
  return {'tasks': tables.table(rows, over)}


def _parted(tasks: Made) -> tuple[Made, dict[str, Task | str]]:
  """Returns the tasks of language models, and those of a reward model."""
  scored: dict[str, Task | str] = {}
  others: Made = {}
  for shots, of_shots in tasks.items():
    others[shots] = {}
    for name, task in of_shots.items():
      mine = scored if name in registry.OF_REWARD else others[shots]
      mine[name] = task
  return others, scored


def _of_reward(
  session: Session, tasks: Mapping[str, Task | str]
) -> list[registry.Row]:
  """Returns the rows of the reward model, if there is one."""
  config = session.config
  folder = sources.source_folder(config, session.run.path, 'reward')
  if folder is None or not sources.holds_model(folder):
    why = 'not asked: no reward model. Give config.init.reward.'
    return [registry.Row(name, 0, None, why) for name in tasks]
  return asked(config, tasks, 0, reward_tables.scorer(session))


def _of_model(
  session: Session,
  name: str,
  folder: pathlib.Path,
  tasks: Made,
  prefix: Mapping[str, Any] | None,
) -> dict[str, list[registry.Row]]:
  """Returns the rows of a model, which then leaves the devices."""
  models: dict[str, Model] = {name: engine(session, name, folder)}
  if prefix and name == 'base':
    models[prompted.NAME] = prompted.Prompted(models[name], prefix['text'])
  return {
    each: [
      row
      for shots, of_shots in tasks.items()
      for row in asked(session.config, of_shots, shots, model)
    ]
    for each, model in models.items()
  }


def asked(
  config: ConfigDict,
  tasks: Mapping[str, Task | str],
  shots: int | None,
  model: Model | Scorer,
) -> list[registry.Row]:
  """Returns the rows of one model, asked with so many examples.

  A task that it cannot do, such as writing more than it can read, has a row
  that says so.
  """
  settings = task_settings(config, shots)
  found: list[registry.Row] = []
  for name, task in tasks.items():
    try:
      found += list(registry.rows({name: task}, settings, model))
    except CannotAnswerError as error:
      found.append(registry.Row(name, shots or 0, None, f'not asked: {error}'))
  return found


def engine(session: Session, name: str, folder: pathlib.Path) -> Engine:
  """Returns a model on the devices, its answers in `evaluate/cache`."""
  own = name in candidates.of_run(session.config, session.run.path)
  found = candidates.opened(session, folder, own=own)
  words = found.session.tokenizer
  model = describe(found.model), words.fingerprint()
  devices = Devices(
    session.mesh, session.rules, layouts.decode_rules(session.config)
  )
  return Engine(
    Passes(found.model, found.params, devices),
    words,
    tokens=session.config.evaluate.tokens,
    answers=cache.Answers(
      session.run.folder('evaluate') / 'cache',
      cache.fingerprint(found.params, *model),
    ),
    name=name,
  )


def problems(config: ConfigDict) -> Iterator[str]:
  """Yields what is wrong with the models, the tasks and their data."""
  evaluate = config.evaluate
  yield from candidates.problems(config)
  yield from preferring.problems(config)
  for key in ('files', 'shot_files'):
    if not all(_pair(pair) for pair in evaluate[key]):
      yield f'evaluate.{key} {evaluate[key]}: {PAIRS}'
      return
  for folder in evaluate.folders:
    if not pathlib.Path(folder).is_dir():
      yield f'evaluate.folders: {folder} is no folder: correct the path'
  if not all(type(n) is int and n >= 0 for n in evaluate.shots):
    yield f'evaluate.shots {evaluate.shots} must be whole numbers, 0 or more'
    return
  if evaluate.harness and not evaluate.tasks:
    yield 'no task: give --config.evaluate.tasks="(\'NAME\',)"'
    return
  try:
    made(config)
  except (ImportError, ValueError) as error:
    yield str(error)


def _pair(value: Any) -> bool:
  return (
    isinstance(value, tuple)
    and len(value) == 2
    and all(isinstance(part, str) for part in value)
  )
