"""The labelling application under labelers who work without a pause.

  python -m benchmarks.labeling --folder=/tmp/labeling

Starts the application in `--folder` and lets `--labelers` people work at once
for `--seconds`, three in four at the pages (GET /work, POST /work/answer), the
others at the JSON interface: each takes a task, thinks for `--think` seconds on
average, and answers. Some answers are sent twice, some once more with other
ranks, some are for the task of another. An admin opens progress, agreement,
results and the export meanwhile, one every `--admin` seconds. Then the same for
as long with the server killed (SIGKILL) `--kills` times at random moments:
whoever gets no acknowledgement sends the same answer again. At the end the
export is compared with all that was acknowledged. The last line is JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pathlib
import random
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import sqlalchemy as sa
from absl import app, flags

from benchmarks.labeling_people import (
  Admin,
  AtInterface,
  AtPages,
  Notes,
  Person,
)
from benchmarks.labeling_server import Server, settle
from instructgpt_jax.labeling import exports, said
from instructgpt_jax.labeling.settings import Settings
from instructgpt_jax.labeling.storage.database import Database
from instructgpt_jax.labeling.storage.models import (
  Answer,
  Labeler,
  Lease,
  Task,
)

AT_INTERFACE = 4  # every so many is a program
START = 5.0  # seconds for a server to start, in the number of tasks


def compare(settings: Settings, notes: list[Notes]) -> dict[str, int]:
  """Returns how far the export is another than what was acknowledged."""
  kept = {key: ranks for one in notes for key, ranks in one.kept.items()}
  database = Database(settings.database_url)
  with database.reading() as session:
    names = dict(session.execute(sa.select(Labeler.id, Labeler.name)).all())
    alias = {code: names[n] for n, code in said.pseudonyms(session).items()}
    rows = [
      (
        (alias[record['labeler_id']], record['prompt']),
        dict(zip(record['responses'], record['ranks'], strict=True)),
      )
      for record in exports.comparisons(session)
    ]
    answers = session.scalar(sa.select(sa.func.count()).select_from(Answer))
    over = session.execute(
      sa.select(Task.id)
      .join(Lease, Lease.task_id == Task.id)
      .where(Lease.state.in_(('held', 'answered')))
      .group_by(Task.id, Task.copies)
      .having(sa.func.count() > Task.copies)
    ).all()
  database.close()
  there = dict(rows)
  return {
    'acknowledged': len(kept),
    'stored': int(answers or 0),
    'lost': len(kept.keys() - there.keys()),
    'changed': sum(
      there.get(key, ranks) != ranks for key, ranks in kept.items()
    ),
    'doubled': len(rows) - len(there),
    'never_acknowledged': len(there.keys() - kept.keys()),
    'handed_out_too_often': len(over),
  }


async def phase(
  server: Server,
  names: list[str],
  seconds: float,
  *,
  think: float,
  admin: float,
  kills: int,
) -> Notes:
  """Lets people work for so long, the server killed so often meanwhile."""
  notes = Notes()
  people: list[Person] = [
    (AtPages if n % AT_INTERFACE else AtInterface)(
      server.url, name, think, notes
    )
    for n, name in enumerate(names)
  ]
  people.append(Admin(server.url, 'admin', admin, notes))
  await asyncio.gather(*(person.enter() for person in people))
  work = asyncio.gather(*(person.work() for person in people))
  began, draw = time.monotonic(), random.Random(kills)
  for n in range(kills):
    at = began + (n + draw.random()) * seconds / kills
    await asyncio.sleep(max(0.0, at - time.monotonic()))
    server.stop(signal.SIGKILL)
    await asyncio.to_thread(server.start)
  await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
  notes.over = True
  await work
  for person in people:
    await person.http.aclose()
  return notes


def measure(
  folder: pathlib.Path,
  *,
  labelers: int = 40,
  seconds: float = 300.0,
  think: float = 1.0,
  admin: float = 5.0,
  kills: int = 20,
) -> dict[str, Any]:
  """Returns percentiles in ms and counts by phase, and all that went wrong."""
  names = [f'labeler-{i}' for i in range(labelers)]
  whole = 2 * seconds + START * (kills + 2)
  settings = settle(folder, names, int(labelers * whole / max(think, 0.05)))
  server = Server(folder, 'screening_tasks=0', 'gold_share=0.0')
  notes = []
  with _running(server):
    for times in (0, kills):
      run = phase(server, names, seconds, think=think, admin=admin, kills=times)
      notes.append(asyncio.run(run))
  faults = [fault for one in notes for fault in one.faults]
  return {
    'labelers': labelers,
    'cores': len(os.sched_getaffinity(0)),
    'think_s': think,
    'seconds': seconds,
    'load': told(notes[0], seconds),
    'kills': kills,
    'while_killed': told(notes[1], seconds),
    **compare(settings, notes),
    'faults': len(faults),
    'first_faults': faults[:5],
  }


def told(notes: Notes, seconds: float) -> dict[str, Any]:
  """Returns the figures of a phase; logging in, slow on purpose, is apart."""
  own = [
    kind for kind in notes.seconds if not kind.startswith(('admin', 'log in'))
  ]
  every = [value for kind in own for value in notes.seconds[kind]]
  return {
    'requests': len(every),
    'requests_per_second': round(len(every) / seconds, 1),
    'answers': len(notes.kept),
    'sent_again': notes.again,
    **_percentiles(every),
    'by_kind': {
      kind: {'n': len(values), **_percentiles(values)}
      for kind, values in sorted(notes.seconds.items())
    },
  }


def _percentiles(seconds: list[float]) -> dict[str, float]:
  ms = 1000 * np.array(seconds or [0.0])
  found = {f'p{q}_ms': float(np.percentile(ms, q)) for q in (50, 95, 99)}
  found['max_ms'] = float(ms.max())
  return {name: round(value, 1) for name, value in found.items()}


@contextlib.contextmanager
def _running(server: Server) -> Iterator[None]:
  server.start()
  try:
    yield
  finally:
    server.stop()


FOLDER = flags.DEFINE_string('folder', None, 'A new folder.', required=False)
LABELERS = flags.DEFINE_integer('labelers', 40, 'People at once.')
SECONDS = flags.DEFINE_float('seconds', 300.0, 'Of each of the two phases.')
THINK = flags.DEFINE_float('think', 1.0, 'Mean seconds before an answer.')
ADMIN = flags.DEFINE_float('admin', 5.0, 'Seconds between pages of an admin.')
KILLS = flags.DEFINE_integer('kills', 20, 'How often the server is killed.')


def main(_: list[str]) -> None:
  logging.getLogger('httpx').setLevel(logging.WARNING)
  found = measure(
    pathlib.Path(FOLDER.value or '.'),
    labelers=LABELERS.value,
    seconds=SECONDS.value,
    think=THINK.value,
    admin=ADMIN.value,
    kills=KILLS.value,
  )
  print(json.dumps(found))


if __name__ == '__main__':
  flags.mark_flag_as_required('folder')
  app.run(main)
