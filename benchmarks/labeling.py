"""The labelling application under labelers who work without a pause.

  python -m benchmarks.labeling --folder=/tmp/labeling

Starts the application in `--folder` and lets `--labelers` people work at once
for `--seconds`: each asks for a task, thinks for `--think` seconds on average,
and answers. Some answers are sent twice, some are for the task of another. Then
the same with the server killed (SIGKILL) `--kills` times: whoever gets no
acknowledgement sends the same answer again. At the end the database is compared
with all that was acknowledged. The last line is JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import pathlib
import random
import secrets
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import sqlalchemy as sa
from absl import app, flags

from benchmarks.labeling_server import PASSWORD, PATIENCE, Server, settle
from instructgpt_jax.labeling.settings import Settings
from instructgpt_jax.labeling.storage.database import Database
from instructgpt_jax.labeling.storage.models import Answer, Lease, Task

TWICE, ANOTHERS = 0.05, 0.05  # shares of answers


class People:
  """What labelers saw and were told."""

  def __init__(self, url: str, think: float):
    self.url, self._think = url, think
    self.over = False
    self.seconds: list[float] = []  # of requests that were answered at once
    self.leases: dict[int, str] = {}  # who was handed it
    self.kept: dict[int, tuple[str, str]] = {}  # answer: who, client_key
    self.faults: list[str] = []
    self.again = 0  # requests that had to be sent again

  async def work(self, name: str) -> None:
    """Does tasks as `name` until it is over."""
    draw = random.Random(name)
    async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE) as http:
      body = {'name': name, 'password': PASSWORD}
      token = (await self._ask(http, 'POST', '/api/login', json=body)).json()
      http.headers['authorization'] = f'Bearer {token["token"]}'
      self.seconds.clear()  # of logging in, which is slow on purpose
      while not self.over:
        found = (await self._ask(http, 'GET', '/api/next')).json()
        if found['task'] is None:
          self.faults.append(f'{name}: no task, {found["reason"]}')
          return
        await self._do(http, name, found['task'], draw)

  async def _do(
    self, http: httpx.AsyncClient, name: str, task: Any, draw: random.Random
  ) -> None:
    owner = self.leases.setdefault(task['lease'], name)
    if owner != name:
      self.faults.append(f'{name} was handed lease {task["lease"]} of {owner}')
    await asyncio.sleep(draw.expovariate(1 / self._think))
    body = {
      'lease': task['lease'],
      'payload': {
        'ranks': _dense([draw.randint(1, 3) for _ in task['outputs']])
      },
      'client_key': secrets.token_hex(16),
    }
    if draw.random() < ANOTHERS:
      await self._try_anothers(http, name, body, draw)
    said = await self._ask(http, 'POST', '/api/answer', json=body)
    self._note(name, body, said)
    if draw.random() < TWICE:
      twice = await self._ask(http, 'POST', '/api/answer', json=body)
      if twice.json().get('answer') != said.json().get('answer'):
        self.faults.append(f'{name}: sent twice, {said.text} and {twice.text}')

  def _note(self, name: str, body: Any, said: httpx.Response) -> None:
    if said.status_code == 200:
      self.kept[said.json()['answer']] = (name, body['client_key'])
    else:
      self.faults.append(f'{name}: {said.status_code} {said.text}')

  async def _try_anothers(
    self, http: httpx.AsyncClient, name: str, body: Any, draw: random.Random
  ) -> None:
    others = [lease for lease, owner in self.leases.items() if owner != name]
    if others:
      stolen = body | {'lease': draw.choice(others)}
      said = await self._ask(http, 'POST', '/api/answer', json=stolen)
      if said.status_code != 404:
        self.faults.append(f"{name} answered another's: {said.status_code}")

  async def _ask(
    self, http: httpx.AsyncClient, *how: str, **more: Any
  ) -> httpx.Response:
    """Returns an answer; while nobody gives one it is asked for again."""
    until = time.monotonic() + PATIENCE
    while True:
      began = time.monotonic()
      try:
        found = await http.request(*how, **more)
      except httpx.HTTPError:
        self.again += 1
        if time.monotonic() > until:
          raise
        await asyncio.sleep(0.1)
        continue
      self.seconds.append(time.monotonic() - began)
      if found.status_code >= 500:
        self.faults.append(f'{how}: {found.status_code} {found.text[:200]}')
      return found


def _dense(values: list[int]) -> list[int]:
  order = sorted(set(values))
  return [order.index(value) + 1 for value in values]


def lost(settings: Settings, people: list[People]) -> dict[str, int]:
  """Returns what the database holds otherwise than it was acknowledged."""
  kept = {k: v for one in people for k, v in one.kept.items()}
  database = Database(settings.database_url)
  with database.reading() as session:
    there = {
      row.id: row.client_key
      for row in session.execute(sa.select(Answer.id, Answer.client_key))
    }
    over = session.execute(
      sa.select(Task.id)
      .join(Lease, Lease.task_id == Task.id)
      .where(Lease.state.in_(('held', 'answered')))
      .group_by(Task.id, Task.copies)
      .having(sa.func.count() > Task.copies)
    ).all()
  database.close()
  return {
    'lost': sum(there.get(k) != key for k, (_, key) in kept.items()),
    'never_acknowledged': len(there.keys() - kept.keys()),
    'doubled': len(there) - len(set(there.values())),
    'handed_out_too_often': len(over),
  }


async def load(
  people: People, names: list[str], seconds: float, server: Server, kills: int
) -> None:
  """Lets them work for so long; or kills the server so often meanwhile."""
  work = asyncio.gather(*(people.work(name) for name in names))
  for _ in range(kills):
    await asyncio.sleep(seconds)
    server.stop(signal.SIGKILL)
    await asyncio.to_thread(server.start)
  await asyncio.sleep(seconds)
  people.over = True
  await work


def measure(
  folder: pathlib.Path,
  *,
  labelers: int = 40,
  seconds: float = 300.0,
  think: float = 1.0,
  kills: int = 20,
  between: float = 3.0,
) -> dict[str, Any]:
  """Returns percentiles of an answer in ms, counts, and all that went wrong."""
  names = [f'labeler-{i}' for i in range(labelers)]
  whole = seconds + (between + 2) * kills
  tasks = int(labelers * whole / max(think, 0.05)) + 100
  settings = settle(folder, names, tasks)
  server = Server(folder, 'screening_tasks=0', 'gold_share=0.0')
  people = []
  with _running(server):
    for length, times in ((seconds, 0), (between, kills)):
      people.append(People(server.url, think))
      asyncio.run(load(people[-1], names, length, server, times))
  faults = [fault for one in people for fault in one.faults]
  ms = np.array(people[0].seconds) * 1000
  return {
    'labelers': labelers,
    'seconds': seconds,
    'requests': len(ms),
    'requests_per_second': len(ms) / seconds,
    **{f'p{q}_ms': float(np.percentile(ms, q)) for q in (50, 95, 99)},
    'kills': kills,
    'sent_again': sum(one.again for one in people),
    'answers': sum(len(one.kept) for one in people),
    **lost(settings, people),
    'faults': len(faults),
    'first_faults': faults[:5],
  }


@contextlib.contextmanager
def _running(server: Server) -> Iterator[None]:
  server.start()
  try:
    yield
  finally:
    server.stop()


FOLDER = flags.DEFINE_string('folder', None, 'A new folder.', required=False)
LABELERS = flags.DEFINE_integer('labelers', 40, 'People at once.')
SECONDS = flags.DEFINE_float('seconds', 300.0, 'Without kills.')
THINK = flags.DEFINE_float('think', 1.0, 'Mean seconds between two requests.')
KILLS = flags.DEFINE_integer('kills', 20, 'How often the server is killed.')
BETWEEN = flags.DEFINE_float('between', 3.0, 'Seconds between two kills.')


def main(_: list[str]) -> None:
  logging.getLogger('httpx').setLevel(logging.WARNING)
  found = measure(
    pathlib.Path(FOLDER.value or '.'),
    labelers=LABELERS.value,
    seconds=SECONDS.value,
    think=THINK.value,
    kills=KILLS.value,
    between=BETWEEN.value,
  )
  print(json.dumps(found))


if __name__ == '__main__':
  flags.mark_flag_as_required('folder')
  app.run(main)
