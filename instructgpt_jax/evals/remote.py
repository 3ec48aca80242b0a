"""JSON over HTTP: tried again, held to a rate, each answer kept on disk."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import requests
import urllib3

Body = Mapping[str, Any]
AGAIN = (408, 425, 429, 500, 502, 503, 504)  # what may be well a moment later


class RemoteError(RuntimeError):
  """A server that could not be reached, or did not do what was asked."""


class Answers:
  """What servers answered, by request, in a file that survives a kill.

  Secrets do not get into it: a request is its address and its body.
  """

  def __init__(self, path: str | os.PathLike[str]):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    self._lock = threading.Lock()
    self._file = sqlite3.connect(path, check_same_thread=False)
    with self._lock, self._file:
      self._file.execute(
        'CREATE TABLE IF NOT EXISTS answers (request TEXT PRIMARY KEY, '
        'answer TEXT NOT NULL) WITHOUT ROWID'
      )

  def get(self, request: str) -> Any | None:
    """Returns the answer to a request, None where there is none yet."""
    with self._lock:
      row = self._file.execute(
        'SELECT answer FROM answers WHERE request = ?', (request,)
      ).fetchone()
    return None if row is None else json.loads(row[0])

  def put(self, request: str, answer: Any) -> None:
    """Keeps an answer; when this returns it is in the file."""
    with self._lock, self._file:
      self._file.execute(
        'INSERT OR REPLACE INTO answers VALUES (?, ?)',
        (request, json.dumps(answer)),
      )

  def close(self) -> None:
    with self._lock:
      self._file.close()


class Remote:
  """One address that takes JSON and answers JSON.

  Connections that fail and the answers of `AGAIN` are tried `attempts` times
  in all, later and later, or when the server says (Retry-After).
  """

  def __init__(
    self,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    answers: Answers | None = None,
    per_second: float = 0.0,  # requests, 0 is as many as can be
    attempts: int = 6,
    timeout: float = 60.0,  # seconds without a byte
    workers: int = 1,  # requests that wait at a time
    backoff: float = 0.5,  # seconds before the second retry, doubled each time
  ):
    self.url = url
    self._answers, self._timeout, self._workers = answers, timeout, workers
    self._pause = 1.0 / per_second if per_second else 0.0
    self._next, self._lock = 0.0, threading.Lock()
    self._session = requests.Session()
    self._session.headers.update(headers or {})
    retries = urllib3.Retry(
      total=attempts - 1,
      backoff_factor=backoff,
      status_forcelist=AGAIN,
      allowed_methods=None,  # POST too: what is asked changes nothing there
      raise_on_status=False,
    )
    adapter = requests.adapters.HTTPAdapter(
      max_retries=retries, pool_maxsize=workers
    )
    for scheme in ('http://', 'https://'):
      self._session.mount(scheme, adapter)

  def post(self, body: Body) -> Any:
    """Returns the answer to one body, from the file where it is known.

    Raises:
      RemoteError: where there is none, saying what the server said.
    """
    text = json.dumps(body, sort_keys=True)
    key = hashlib.sha256(f'{self.url}\n{text}'.encode()).hexdigest()
    known = self._answers.get(key) if self._answers else None
    if known is not None:
      return known
    answer = self._asked(text)
    if self._answers:
      self._answers.put(key, answer)
    return answer

  def post_all(self, bodies: Sequence[Body]) -> Iterator[Any]:
    """Yields the answer to each body in order, `workers` asked at a time.

    Raises:
      RemoteError: of the first that fails; what was answered is kept.
    """
    pool = concurrent.futures.ThreadPoolExecutor(self._workers)
    with contextlib.ExitStack() as stack:
      stack.callback(pool.shutdown, cancel_futures=True)
      yield from pool.map(self.post, bodies)

  def _asked(self, text: str) -> Any:
    self._wait()
    try:
      reply = self._session.post(
        self.url,
        data=text.encode(),
        headers={'Content-Type': 'application/json'},
        timeout=self._timeout,
        allow_redirects=False,
      )
    except requests.RequestException as error:
      raise RemoteError(
        f'{self.url}: no answer ({type(error).__name__}). Check the address '
        'and the network; what was answered is kept.'
      ) from error
    if reply.status_code != 200:
      raise RemoteError(
        f'{self.url}: answered {reply.status_code}, {reply.text[:200]!r}. '
        'Correct the address, the key or the settings of the judge.'
      )
    try:
      return reply.json()
    except ValueError as error:
      raise RemoteError(
        f'{self.url}: the answer is no JSON, {reply.text[:200]!r}. Correct '
        'the address.'
      ) from error

  def _wait(self) -> None:
    """Returns when the rate allows one more request."""
    with self._lock:
      at = max(self._next, time.monotonic())
      self._next = at + self._pause
    time.sleep(max(0.0, at - time.monotonic()))


def bearer(variable: str) -> dict[str, str]:
  """Returns the header with the key of an environment variable, if it is set.

  Servers of one's own mostly want none.
  """
  key = os.environ.get(variable, '')
  return {'Authorization': f'Bearer {key}'} if key else {}


def completion(answer: Any, url: str) -> str:
  """Returns the text of an answer of an OpenAI-compatible chat server.

  Raises:
    RemoteError: for an answer of another form.
  """
  try:
    return answer['choices'][0]['message']['content'] or ''
  except (KeyError, IndexError, TypeError) as error:
    raise RemoteError(
      f'{url}: answered no chat completion ({str(answer)[:200]}). Give the '
      'address that ends in /chat/completions.'
    ) from error
