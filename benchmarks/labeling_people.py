"""People at work in the labelling application, for `benchmarks.labeling`."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import html
import random
import re
import secrets
import time
from typing import Any

import httpx

from benchmarks.labeling_server import PASSWORD, PATIENCE

# Shares of answers: sent twice; again with other ranks, as from a second
# window; for the task that somebody else was handed.
TWICE, OTHERWISE, ANOTHERS = 0.05, 0.03, 0.05
TEXT = re.compile(r'<div class="text" dir="auto">(.*?)</div>', re.DOTALL)
Ranked = dict[str, int]  # text of an output: its rank


@dataclasses.dataclass
class Held:
  """A task in somebody's hands."""

  lease: int
  prompt: str
  outputs: list[str]
  fields: dict[str, str] = dataclasses.field(default_factory=dict)


class Notes:
  """What all people together saw and were told, in one phase."""

  def __init__(self) -> None:
    self.over = False
    self.seconds: dict[str, list[float]] = collections.defaultdict(list)
    self.leases: dict[int, str] = {}  # who was handed it
    # Acknowledged: who, prompt -> what they said of it.
    self.kept: dict[tuple[str, str], Ranked] = {}
    self.faults: list[str] = []
    self.again = 0  # requests that had to be sent again


class Person:
  """Somebody with an account; `ask` repeats what nobody answered."""

  def __init__(self, url: str, name: str, think: float, notes: Notes):
    self.name, self._think, self.notes = name, think, notes
    self._draw = random.Random(name)
    self.http = httpx.AsyncClient(base_url=url, timeout=PATIENCE)

  async def ask(self, kind: str, *how: str, **more: Any) -> httpx.Response:
    """Returns an answer; its time counts from the first try."""
    began = time.monotonic()
    while True:
      try:
        found = await self.http.request(*how, **more)
        break
      except httpx.HTTPError:
        self.notes.again += 1
        if time.monotonic() > began + PATIENCE:
          raise
        await asyncio.sleep(0.1)
    self.notes.seconds[kind].append(time.monotonic() - began)
    if found.status_code >= 500:
      self.fault(f'{how}: {found.status_code} {found.text[:200]}')
    return found

  def fault(self, text: str) -> None:
    self.notes.faults.append(f'{self.name}: {text}')

  async def enter(self) -> None:
    """Logs in with the form of the page."""
    page = await self.ask('log in', 'GET', '/login')
    body = {
      'name': self.name,
      'password': PASSWORD,
      'csrf': _field(page, 'csrf'),
    }
    done = await self.ask('log in', 'POST', '/login', data=body)
    if done.status_code != 303:
      self.fault(f'not logged in, {done.status_code}')

  async def work(self) -> None:
    """Does tasks until it is over."""
    while not self.notes.over:
      held = await self.take()
      if held is None:
        return
      owner = self.notes.leases.setdefault(held.lease, self.name)
      if owner != self.name:
        self.fault(f'was handed lease {held.lease} of {owner}')
      await asyncio.sleep(self._draw.expovariate(1 / self._think))
      await self._answer(held)

  async def _answer(self, held: Held) -> None:
    ranks = _ranks(self._draw, held)
    key = secrets.token_hex(16)
    if self._draw.random() < ANOTHERS:
      await self._try_anothers(held, ranks)
    if not await self.give(held, ranks, key):
      self.fault(f'lease {held.lease} was not kept')
      return
    said = dict(zip(held.outputs, ranks, strict=True))
    self.notes.kept[self.name, held.prompt] = said
    if self._draw.random() < TWICE and not await self.give(held, ranks, key):
      self.fault(f'lease {held.lease} sent twice was refused')
    if self._draw.random() < OTHERWISE:
      await self._try_otherwise(held, ranks)

  async def _try_otherwise(self, held: Held, ranks: list[int]) -> None:
    other = [1] * len(ranks)
    if other == ranks:
      other[0] = 2
    if await self.give(held, other, secrets.token_hex(16)):
      self.fault(f'lease {held.lease} was answered in two ways')

  async def _try_anothers(self, held: Held, ranks: list[int]) -> None:
    others = [n for n, who in self.notes.leases.items() if who != self.name]
    if others:
      stolen = dataclasses.replace(held, lease=self._draw.choice(others))
      if await self.give(stolen, ranks, secrets.token_hex(16)):
        self.fault(f"lease {stolen.lease} is another's and was kept")

  async def take(self) -> Held | None:
    raise NotImplementedError

  async def give(self, held: Held, ranks: list[int], key: str) -> bool:
    """Returns whether an answer is acknowledged as kept."""
    raise NotImplementedError


class AtPages(Person):
  """Somebody with a browser: GET /work, POST /work/answer, and so on."""

  async def take(self) -> Held | None:
    page = await self.ask('GET /work', 'GET', '/work')
    texts = [html.unescape(text) for text in TEXT.findall(page.text)]
    if 'name="lease"' not in page.text or len(texts) < 3:
      self.fault(f'no task, {page.status_code}')
      return None
    fields = {'csrf': _field(page, 'csrf')}
    lease = int(_field(page, 'lease'))
    return Held(lease, texts[0], texts[1:], fields)

  async def give(self, held: Held, ranks: list[int], key: str) -> bool:
    form = held.fields | {'lease': str(held.lease), 'client_key': key}
    form |= {f'rank-{n}': str(rank) for n, rank in enumerate(ranks)}
    kind = 'POST /work/answer'
    said = await self.ask(kind, 'POST', '/work/answer', data=form)
    if said.status_code not in (303, 409):
      self.fault(f'{kind}: {said.status_code} {said.text[:200]}')
    return said.headers.get('location') == '/work?did=saved'


class AtInterface(Person):
  """A program with a token: GET /api/next, POST /api/answer."""

  async def enter(self) -> None:
    body = {'name': self.name, 'password': PASSWORD}
    said = await self.ask('log in', 'POST', '/api/login', json=body)
    self.http.headers['authorization'] = f'Bearer {said.json()["token"]}'

  async def take(self) -> Held | None:
    found = (await self.ask('GET /api/next', 'GET', '/api/next')).json()
    task = found['task']
    if task is None:
      self.fault(f'no task, {found["reason"]}')
      return None
    return Held(task['lease'], task['prompt'], task['outputs'])

  async def give(self, held: Held, ranks: list[int], key: str) -> bool:
    body = {'lease': held.lease, 'payload': {'ranks': ranks}}
    body |= {'client_key': key}
    kind = 'POST /api/answer'
    said = await self.ask(kind, 'POST', '/api/answer', json=body)
    if said.status_code not in (200, 404, 409):
      self.fault(f'{kind}: {said.status_code} {said.text[:200]}')
    return said.status_code == 200


class Admin(Person):
  """An admin who looks at pages, and takes the answers, now and then."""

  PLACES = (
    *('/admin', '/admin/agreement', '/admin/results', '/admin/export'),
    '/api/export/comparisons',
  )

  async def work(self) -> None:
    while True:
      for place in self.PLACES:
        await asyncio.sleep(self._think)
        if self.notes.over:
          return
        said = await self.ask(f'admin {place}', 'GET', place)
        if said.status_code != 200:
          self.fault(f'{place}: {said.status_code}')


def _field(page: httpx.Response, name: str) -> str:
  found = re.search(f'name="{name}" value="([^"]*)"', page.text)
  return html.unescape(found[1]) if found else ''


def _ranks(draw: random.Random, held: Held) -> list[int]:
  """Returns ranks without gaps, some of them tied."""
  values = [draw.randint(1, 3) for _ in held.outputs]
  used = sorted(set(values))
  return [used.index(value) + 1 for value in values]
