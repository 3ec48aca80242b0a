"""The application's JSON interface, from the other side of the network."""

from __future__ import annotations

import itertools
import logging
import os
import pathlib
import secrets
from collections.abc import Iterator
from typing import Any

import httpx

from instructgpt_jax.data import schema

NAME, PASSWORD = 'INSTRUCTGPT_LABEL_NAME', 'INSTRUCTGPT_LABEL_PASSWORD'
PART = 1 << 20  # bytes of an import; far below import_mb, and soon done
LOCAL = ('127.0.0.1', '::1', 'localhost')
SECONDS = 60.0  # that an answer may take


class Client:
  """One account at one application; every call is one request."""

  def __init__(self, url: str):
    """Connects lazily."""
    self._http = httpx.Client(base_url=url, timeout=SECONDS)

  def close(self) -> None:
    self._http.close()

  def login(self, name: str, password: str) -> None:
    """Is that account from now on, until the session ends.

    Warns where the password goes over a network that others may read.
    """
    url = self._http.base_url
    if url.scheme != 'https' and url.host not in LOCAL:
      logging.warning(
        '%s: the password is sent as it is. Give an https:// address.', url
      )
    body = {'name': name, 'password': password}
    token = self._call('POST', '/api/login', json=body).json()['token']
    self._http.headers['authorization'] = f'Bearer {token}'

  def next(self) -> dict[str, Any]:
    """Returns the next task, or why there is none."""
    return self._call('GET', '/api/next').json()

  def answer(
    self, lease: int, payload: dict[str, Any], key: str = '', **more: Any
  ) -> dict[str, Any]:
    """Returns what the application says of an answer it has kept."""
    body = {'lease': lease, 'payload': payload, **more}
    body['client_key'] = key or secrets.token_hex(16)
    return self._call('POST', '/api/answer', json=body).json()

  def skip(self, lease: int, reason: str) -> None:
    body = {'lease': lease, 'reason': reason}
    self._call('POST', '/api/skip', json=body)

  def progress(self) -> dict[str, Any]:
    return self._call('GET', '/api/progress').json()

  def standing(self, batch: str) -> dict[str, Any]:
    """Returns what is there of the rankings of a batch, and may come."""
    return self._call('GET', '/api/standing', params={'batch': batch}).json()

  def send(self, path: pathlib.Path, **how: str) -> None:
    """Imports a file of JSON Lines in parts; `how` is as for /api/import."""
    for part in _parts(path):
      self._call('POST', '/api/import', content=part, params=how)

  def figures(self) -> dict[str, Any]:
    """Returns agreement, habits of labelers, and what they said of models."""
    return self._call('GET', '/api/figures').json()

  def export(self, kind: str) -> list[dict[str, Any]]:
    """Returns all records of a kind: comparisons, demonstrations, ratings."""
    place = f'/api/export/{kind}'
    lines = self._call('GET', place).content.split(b'\n')
    numbered = zip(itertools.count(1), lines, strict=False)
    return [schema.parse(x, f'{place}:{i}') for i, x in numbered if x.strip()]

  def _call(self, method: str, place: str, **how: Any) -> httpx.Response:
    """Returns the answer to a request.

    Raises:
      ConnectionError: if nobody answers, or not now (408, 429, 5xx).
      ValueError: with what the application says of a request it refuses.
    """
    try:
      found = self._http.request(method, place, **how)
    except httpx.HTTPError as error:
      raise ConnectionError(
        f'{self._http.base_url}: no answer ({error}). Is the application there?'
      ) from error
    if found.is_success:
      return found
    said = f'{self._http.base_url}{place}: {found.status_code}, {_said(found)}'
    if found.status_code >= 500 or found.status_code in (408, 429):
      raise ConnectionError(said)
    raise Refused(said, found.status_code)


class Refused(ValueError):
  """What the application would not do; `status` is that of HTTP."""

  def __init__(self, said: str, status: int):
    super().__init__(said)
    self.status = status


def _said(found: httpx.Response) -> str:
  try:
    return str(found.json()['detail'])
  except (ValueError, KeyError, TypeError):
    return found.text[:200]


def _parts(path: pathlib.Path) -> Iterator[bytes]:
  """Yields whole lines of a file, so many that one request takes them."""
  part: list[bytes] = []
  with path.open('rb') as file:
    for line in file:
      if part and sum(map(len, part)) + len(line) > PART:
        yield b''.join(part)
        part = []
      part.append(line)
  if part:
    yield b''.join(part)


def account() -> tuple[str, str]:
  """Returns name and password of an admin, from the environment.

  Raises:
    ValueError: if one of them is not there.
  """
  found = os.environ.get(NAME, ''), os.environ.get(PASSWORD, '')
  if not all(found):
    raise ValueError(
      f'collect.url: give the account of an admin there as {NAME} and '
      f'{PASSWORD} in the environment'
    )
  return found
