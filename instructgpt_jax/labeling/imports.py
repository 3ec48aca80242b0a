"""Records that become prompts, outputs and tasks; the same twice is once."""

from __future__ import annotations

import collections
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import orm

from instructgpt_jax.data import schema
from instructgpt_jax.data.curation.step import stable_hash
from instructgpt_jax.labeling import accounts, payloads
from instructgpt_jax.labeling.incoming import DataError, Item
from instructgpt_jax.labeling.settings import Settings
from instructgpt_jax.labeling.storage.database import Database
from instructgpt_jax.labeling.storage.models import Output, Prompt, Task

AT_ONCE = 50  # items a transaction: labelers wait no longer than that takes


class Plan(NamedTuple):
  """A task to be: its key, kind, places of its outputs, and copies."""

  key: str
  kind: str
  outputs: tuple[int, ...]
  copies: int
  group: str | None


Planned = tuple[Item, list[Plan]]


def store(
  database: Database,
  items: Sequence[Item],
  settings: Settings,
  now: float,
  *,
  batch: str = '',
  kinds: Sequence[str] = (),
  by: int | None = None,
) -> dict[str, int]:
  """Returns how many prompts, outputs and tasks are new, and tasks in all.

  What is there already stays as it is, so an import that was cut off is
  finished by the same import once more.

  Args:
    database: that is written to.
    items: of `incoming`.
    settings: of the application.
    now: seconds since 1970.
    batch: a name by which tasks are found again.
    kinds: of tasks, in place of those of the settings.
    by: the account that imports.

  Raises:
    DataError: where an id stands for another prompt already, a task is there
      with another answer or none, or nothing comes of all of it. Then nothing
      is stored, unless two imports at once are of the same prompts.
  """
  kinds = kinds or settings.kinds
  planned = [(item, _plan(item, settings, kinds)) for item in items]
  wanted = len({plan.key for _, plans in planned for plan in plans})
  if not wanted:
    raise DataError(
      f'{items[0].where if items else "import"}: no task of the kinds '
      f'{", ".join(kinds)} comes of these records. Choose other kinds, or give '
      'them responses.'
    )
  with database.reading() as session:
    _check(session, planned)
  counts: collections.Counter[str] = collections.Counter()
  for part in _parts(planned):
    counts += database.write(functools.partial(_store, part, batch, now))
  found = {name: counts[name] for name in ('prompts', 'outputs', 'tasks')}
  database.write(
    lambda session: accounts.record(
      session, now, by, 'import', batch=batch, **found
    )
  )
  return {**found, 'tasks_in_all': wanted}


def _plan(item: Item, settings: Settings, kinds: Sequence[str]) -> list[Plan]:
  """Returns the tasks of an item; raises DataError for one that cannot be."""
  count, everything = len(item.outputs), tuple(range(len(item.outputs)))
  if item.kind:
    _check_count(item, count)
    shown = () if item.kind == 'demonstration' else everything
    return [_planned(item, item.kind, shown, item.copies or 1, None)]
  found = []
  if 'demonstration' in kinds:
    found.append(_planned(item, 'demonstration', (), item.copies or 1, None))
  people = _people(item, settings)
  if 'rating' in kinds:
    found += [_planned(item, 'rating', (k,), *people) for k in everything]
  fewest, most = settings.completions
  if 'ranking' in kinds and count >= fewest:
    if count > most:
      raise DataError(
        f'{item.where}: {count} responses, config.label.completions allows '
        f'{most}. Raise it, or split the record.'
      )
    found.append(_planned(item, 'ranking', everything, *people))
  if 'comparison' in kinds:
    found += [
      _planned(item, 'comparison', pair, *people)
      for pair in itertools.combinations(everything, 2)
      if item.models[pair[0]] != item.models[pair[1]]
    ]
  return list({plan.key: plan for plan in found}.values())


def _check_count(item: Item, count: int) -> None:
  least, most = {'rating': (1, 1), 'comparison': (2, 2)}.get(
    item.kind, (0 if item.kind == 'demonstration' else 2, payloads.MOST)
  )
  if not least <= count <= most:
    raise DataError(
      f'{item.where}: {count} responses for a task of kind {item.kind}, which '
      f'has {least} to {most}. Correct the record.'
    )


def _planned(
  item: Item,
  kind: str,
  outputs: tuple[int, ...],
  copies: int,
  group: str | None,
) -> Plan:
  texts = [(item.models[k], item.outputs[k]) for k in outputs]
  name = stable_hash(item.key, *itertools.chain.from_iterable(texts))
  return Plan(f'{kind}:{name:016x}', kind, outputs, copies, group)


def _people(item: Item, settings: Settings) -> tuple[int, str | None]:
  """Returns how many people get the tasks of a prompt, and of which group.

  Of the prompts that several get, some are for labelers held out and the others
  for all others: two of one group are to meet often enough (InstructGPT 3.4).
  """
  shared = _drawn(item, settings, 'overlap') < settings.overlap_share
  copies = item.copies or (settings.overlap_copies if shared else 1)
  if not (settings.overlap_share and settings.heldout_share):
    return copies, None
  theirs = _drawn(item, settings, 'heldout') < settings.heldout_share
  return copies, 'heldout' if copies > 1 and theirs else 'train'


def _drawn(item: Item, settings: Settings, what: str) -> float:
  """Returns a number in [0, 1) of this prompt alone."""
  return stable_hash(str(settings.seed), what, item.key) / 2**64


def _check(session: orm.Session, planned: Sequence[Planned]) -> None:
  """Raises DataError where something else is there already, or in the file."""
  texts: dict[str, str] = {}
  gold: dict[str, Any] = {}
  for part in _parts(planned):
    keys = [item.key for item, _ in part]
    names = [plan.key for _, plans in part for plan in plans]
    prompts = sa.select(Prompt.key, Prompt.text).where(Prompt.key.in_(keys))
    tasks = sa.select(Task.key, Task.gold).where(Task.key.in_(names))
    texts |= dict(session.execute(prompts).all())
    gold |= dict(session.execute(tasks).all())
  for item, plans in planned:
    if texts.setdefault(item.key, item.text) != item.text:
      raise DataError(
        f'{item.where}: id {schema.shown(item.key)} is that of another prompt. '
        'Give each prompt an id of its own.'
      )
    if any(gold.setdefault(p.key, item.answer) != item.answer for p in plans):
      raise DataError(
        f'{item.where}: this task is there with another answer, or one of the '
        'two has none. Nobody is to get it twice: give another record.'
      )


def _parts(planned: Sequence[Planned]) -> Iterator[Sequence[Planned]]:
  for start in range(0, len(planned), AT_ONCE):
    yield planned[start : start + AT_ONCE]


def _store(
  part: Sequence[Planned],
  batch: str,
  now: float,
  session: orm.Session,
) -> collections.Counter[str]:
  _check(session, part)  # once more: another import may have been at work
  keys = [plan.key for _, plans in part for plan in plans]
  there = set(session.scalars(sa.select(Task.key).where(Task.key.in_(keys))))
  counts: collections.Counter[str] = collections.Counter()
  for item, plans in part:
    missing = [plan for plan in plans if plan.key not in there]
    if not missing:
      continue
    prompt = session.scalar(sa.select(Prompt).where(Prompt.key == item.key))
    if prompt is None:
      prompt = Prompt(
        key=item.key,
        text=item.text,
        user=item.user,
        extra=item.extra,
        created=now,
      )
      session.add(prompt)
      session.flush()
      counts['prompts'] += 1
    outputs, new = _outputs(session, prompt, item)
    counts['outputs'] += new
    for plan in missing:
      there.add(plan.key)
      session.add(_task(item, plan, prompt, outputs, batch=batch, now=now))
    counts['tasks'] += len(missing)
  return counts


def _outputs(
  session: orm.Session, prompt: Prompt, item: Item
) -> tuple[list[int], int]:
  """Returns the ids of the outputs of an item, and how many are new.

  Equal texts of one item are different outputs.
  """
  there: dict[tuple[str, str], list[Output]] = collections.defaultdict(list)
  rows = sa.select(Output).where(Output.prompt_id == prompt.id)
  for output in session.scalars(rows.order_by(Output.id.desc())):
    there[output.text, output.model].append(output)
  found, new = [], []
  for k, (text, model) in enumerate(
    zip(item.outputs, item.models, strict=True)
  ):
    if there[text, model]:
      found.append(there[text, model].pop())
      continue
    extra = {} if item.ended is None else {'ended': item.ended[k]}
    new.append(Output(prompt_id=prompt.id, text=text, model=model, extra=extra))
    found.append(new[-1])
  session.add_all(new)
  session.flush()
  return [output.id for output in found], len(new)


def _task(
  item: Item,
  plan: Plan,
  prompt: Prompt,
  outputs: Sequence[int],
  *,
  batch: str,
  now: float,
) -> Task:
  task = Task(
    key=plan.key,
    kind=plan.kind,
    batch=batch,
    prompt_id=prompt.id,
    outputs=[outputs[k] for k in plan.outputs],
    priority=item.priority,
    copies=plan.copies,
    group=plan.group,
    created=now,
  )
  if item.answer is not None:
    task.gold = item.answer
  return task
