"""Simulated labelers who work over HTTP, as people do in a browser.

  python -m benchmarks.labeling_loop --application=DIR --run=DIR -- COMMAND...

Starts the labelling application of `--application` in a process of its own (the
first time with accounts: two for each labeler of the embedded world, those of
the last one held out), then COMMAND, in which {url} is the application's. While
it runs, the labelers rank what the run in the folder `--run` offers. The last
line is JSON: answers, seconds, and how far the labelers agree.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import pathlib
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags

from benchmarks.labeling_server import PASSWORD, Server, settle
from instructgpt_jax import simulation
from instructgpt_jax.data import records
from instructgpt_jax.labeling import client

Record = dict[str, Any]
TWICE = 2  # accounts of each labeler: of one taste, with noise of their own
NAMES = [
  f'{labeler.name}-{seed}'
  for labeler in simulation.LABELERS
  for seed in range(TWICE)
]
HELDOUT = NAMES[-TWICE:]


def rank_all(
  url: str,
  path: pathlib.Path,
  names: Sequence[str],
  *,
  finished: Callable[[], bool],
  asked: list[Record],
) -> None:
  """Lets each account rank what stands in `path` until `finished()`.

  A name is that of a labeler of the world, with or without the seed of their
  noise. `asked` takes the tasks as they were sent, to be looked at.
  """
  people = {name: client.Client(url) for name in names}
  for name, one in people.items():
    one.login(name, PASSWORD)
  while not finished():
    idle = True
    for name, one in people.items():
      task = one.next()['task']
      if task is None:
        continue
      idle = False
      asked.append(task)
      one.answer(task['lease'], {'ranks': _ranks(task, path, name)})
    if idle:
      time.sleep(1.0)
  for one in people.values():
    one.close()


def row(name: str) -> Any:
  """Returns the record of the world that a prompt comes from."""
  return simulation.World(0).prompt(int(name.rpartition('-')[2]))


def _ranks(task: Record, path: pathlib.Path, name: str) -> list[int]:
  offered = _offered(path, path.stat().st_mtime_ns)
  record = offered[(task['prompt'].strip(), *sorted(task['outputs']))]
  ended = dict(zip(record['responses'], record['ended'], strict=True))
  taste, _, seed = name.partition('-')
  ranks, _ = simulation.rank(
    row(record['id']),
    task['outputs'],
    [ended[text] for text in task['outputs']],
    labeler=[one.name for one in simulation.LABELERS].index(taste),
    seed=int(seed or 0),
  )
  return ranks


@functools.lru_cache(maxsize=1)
def _offered(path: pathlib.Path, changed: int) -> dict[Any, Record]:
  """Returns {(prompt, responses): the record} of what collect offers."""
  del changed  # another file
  return {
    (record['prompt'].strip(), *sorted(record['responses'])): record
    for record, _ in records.read_records(path, 'prompts')
  }


def measure(
  application: pathlib.Path,
  run: pathlib.Path,
  command: Sequence[str],
  *overrides: str,
) -> Record:
  """Returns answers, seconds and agreement of a run whose people these are."""
  if not (application / 'labeling').exists():
    settle(application, NAMES, 0, HELDOUT)
  server = Server(
    application,
    *('screening_tasks=0', 'gold_share=0.0', "kinds=('ranking',)"),
    *overrides,
  )
  server.start()
  account = {client.NAME: 'admin', client.PASSWORD: PASSWORD}
  asked: list[Record] = []
  try:
    running = subprocess.Popen(
      [part.replace('{url}', server.url) for part in command],
      env=os.environ | account,
    )
    offered = run / 'collect' / 'offered.jsonl'
    while running.poll() is None and not offered.exists():
      time.sleep(1.0)
    began = time.monotonic()
    rank_all(
      *(server.url, offered, NAMES),
      finished=lambda: running.poll() is not None,
      asked=asked,
    )
    admin = client.Client(server.url)
    admin.login('admin', PASSWORD)
    found = admin.figures()
  finally:
    server.stop()
  return {
    'returned': running.returncode,
    'answers': len(asked),
    'seconds': time.monotonic() - began,
    'agreement': {
      group: {k: v for k, v in of.items() if k != 'per_labeler'}
      for group, of in found['agreement'].items()
    },
    'labelers': found['labelers'],
  }


APPLICATION = flags.DEFINE_string('application', None, 'A folder.')
RUN = flags.DEFINE_string('run', None, 'Of the command: its --workdir.')
LABEL = flags.DEFINE_multi_string('label', [], 'KEY=VALUE of config.label.')


def main(argv: list[str]) -> None:
  logging.getLogger('httpx').setLevel(logging.WARNING)
  found = measure(
    pathlib.Path(APPLICATION.value or '.'),
    pathlib.Path(RUN.value or '.'),
    argv[1:],
    *LABEL.value,
  )
  print(json.dumps(found))


if __name__ == '__main__':
  flags.mark_flags_as_required(['application', 'run'])
  app.run(main)
