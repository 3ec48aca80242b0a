"""The labelling application as the stage `collect` sees it: here or elsewhere.

Here is `DIR/labeling` of the run: offers go straight into its database, with
the settings under which it was started last. Elsewhere is a URL.
"""

from __future__ import annotations

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from instructgpt_jax.data.schema import Record
from instructgpt_jax.labeling import (
  client,
  exports,
  imports,
  incoming,
  progress,
)
from instructgpt_jax.labeling.progress import Standing
from instructgpt_jax.labeling.settings import Settings, kept
from instructgpt_jax.labeling.storage.database import Database

T = TypeVar('T')


class Application(Protocol):
  """Whom prompts are offered to."""

  advice: str  # what somebody may do meanwhile

  def offer(self, path: pathlib.Path, batch: str) -> bool:
    """Returns whether what is in a file is there now; offers it once."""

  def standing(self, batch: str) -> Standing | None:
    """Returns how far the rankings of a batch are, None if nobody knows."""

  def comparisons(self) -> list[Record]:
    """Returns all rankings that are there by now."""


def application(folder: pathlib.Path, url: str) -> Application:
  """Returns the application at a URL, or that in the folder of a run."""
  return Elsewhere(url) if url else Here(folder)


class Here:
  """The application that is started with --workdir=`folder`."""

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self.advice = (
      'people answer at python -m instructgpt_jax.main '
      f'--config=configs/label.py --workdir={folder}'
    )

  def offer(self, path: pathlib.Path, batch: str) -> bool:
    with self._opened() as found:
      if found is None:
        return False
      settings, database = found
      items = incoming.of_files([path])
      imports.store(
        *(database, items, settings, time.time()),
        batch=batch,
        kinds=_kinds(settings),
      )
    return True

  def standing(self, batch: str) -> Standing | None:
    with self._opened() as found:
      if found is None:
        return None
      with found[1].reading() as session:
        return progress.standing(session, found[0], batch)

  def comparisons(self) -> list[Record]:
    with self._opened() as found:
      if found is None:
        return []
      settings, database = found
      with database.reading() as session:
        blocked = not settings.without_blocked
        return list(exports.comparisons(session, blocked=blocked))

  @contextlib.contextmanager
  def _opened(self) -> Iterator[tuple[Settings, Database] | None]:
    """Yields settings and database, None before the first start."""
    settings = kept(self._folder)
    if settings is None:
      yield None
      return
    database = Database(settings.database_url)
    try:
      yield settings, database
    finally:
      database.close()


def _kinds(settings: Settings) -> list[str]:
  """Returns what is asked of a prompt: a ranking, whatever else there is."""
  return list(dict.fromkeys([*settings.kinds, 'ranking']))


class Elsewhere:
  """The application at a URL, as an admin of the environment sees it."""

  def __init__(self, url: str):
    self._here = f'people answer at {url}'
    self.advice = self._here
    self._client, self._known = client.Client(url), False

  def offer(self, path: pathlib.Path, batch: str) -> bool:
    def work() -> bool:
      self._client.send(path, batch=batch)
      return True

    return self._try(work) or False

  def standing(self, batch: str) -> Standing | None:
    found = self._try(lambda: self._client.standing(batch))
    return None if found is None else Standing(**found)

  def comparisons(self) -> list[Record]:
    return self._try(lambda: self._client.export('comparisons')) or []

  def _try(self, work: Callable[[], T]) -> T | None:
    """Returns what `work` does, None while nobody answers: there is time."""
    try:
      result, self.advice = self._logged_in(work), self._here
      return result
    except ConnectionError as error:
      self.advice = str(error)
      return None

  def _logged_in(self, work: Callable[[], T]) -> T:
    """Does the work in one session for all, anew when that has ended."""
    if self._known:
      try:
        return work()
      except client.Refused as error:
        if error.status != 401:
          raise
    self._client.login(*client.account())
    self._known = True
    return work()
