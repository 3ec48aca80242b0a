"""People at work at the same time, on both databases."""

import collections
import concurrent.futures

import sqlalchemy as sa

from instructgpt_jax.labeling import exports
from instructgpt_jax.labeling.storage.database import Database
from instructgpt_jax.labeling.storage.migrate import migrate
from instructgpt_jax.labeling.storage.models import Answer, Task
from tests.labeling.work import do, hire, load, ranked

PEOPLE, TASKS = 6, 8


def test_each_task_is_done_by_as_many_as_it_wants_and_by_nobody_twice(
  url, make_settings
):
  settings = make_settings(
    kinds=('ranking',),
    screening_tasks=0,
    gold_share=0.0,
    heldout_share=0.0,
    total_budget=14,
  )
  database = Database(url)
  migrate(database)
  tasks = [ranked(f'{i}', copies=1 + i % 3) for i in range(TASKS)]
  load(database, settings, *tasks)
  people = [hire(database, f'p{i}') for i in range(PEOPLE)]

  def work(person):
    done = []
    while not isinstance(shown := do(database, settings, person), str):
      done.append(shown['prompt'])
    return done

  with concurrent.futures.ThreadPoolExecutor(PEOPLE) as pool:
    done = list(pool.map(work, people))
  assert all(len(set(prompts)) == len(prompts) for prompts in done)
  with database.reading() as session:
    found = session.scalars(sa.select(Answer.task_id)).all()
    wanted = dict(
      map(tuple, session.execute(sa.select(Task.id, Task.copies)).all())
    )
    assert len(list(exports.comparisons(session))) == 14
  counts = collections.Counter(found)
  assert sum(map(len, done)) == len(found) == 14  # of 15: the budget
  assert all(counts[task] <= copies for task, copies in wanted.items())
  database.close()
