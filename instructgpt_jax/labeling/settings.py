"""What config.label says, checked once; secrets come from the environment."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import secrets
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from instructgpt_jax import files
from instructgpt_jax.labeling.storage.database import url_problem
from instructgpt_jax.labeling.storage.models import ASKED, USES

SECRET = 'INSTRUCTGPT_LABEL_SECRET'
MIN_SECRET = 32  # characters
KEPT = 'settings.json'


@dataclasses.dataclass(frozen=True)
class Settings:
  """Every key of config.label, as configs/common.py explains them."""

  folder: pathlib.Path  # DIR/labeling
  seed: int
  host: str
  port: int
  https: bool
  url: str
  files: tuple[str, ...]
  use: str
  kinds: tuple[str, ...]
  completions: tuple[int, int]
  archive: str
  guidelines: str
  screening_tasks: int
  screening_agreement: float
  lease_minutes: float
  overlap_share: float
  overlap_copies: int
  gold_share: float
  heldout_share: float
  without_blocked: bool
  labeler_budget: int
  total_budget: int
  text_limit: int
  session_hours: float
  invitation_days: float
  login_attempts: int
  login_minutes: float
  request_kb: int
  import_mb: int

  @property
  def database_url(self) -> str:
    """`url`, or that of a SQLite file in the folder."""
    if self.url:
      return self.url
    path = str((self.folder / 'label.db').absolute())
    return sa.URL.create('sqlite', database=path).render_as_string()


def make(
  config: Mapping[str, Any], folder: str | os.PathLike[str], seed: int = 0
) -> Settings:
  """Returns the settings of config.label for the run folder DIR.

  Raises:
    ValueError: naming the keys that are wrong, and what they may be.
  """
  values = dict(config)
  for name in ('files', 'kinds', 'completions'):
    values[name] = tuple(values[name])
  settings = Settings(
    folder=pathlib.Path(folder) / 'labeling', seed=seed, **values
  )
  wrong = [f'  {line}' for line in _complaints(settings)]
  if wrong:
    raise ValueError('\n'.join(['config.label cannot be used:', *wrong]))
  return settings


def _complaints(s: Settings) -> list[str]:
  shares = ('overlap_share', 'gold_share', 'heldout_share')
  above = (
    *('lease_minutes', 'session_hours', 'invitation_days', 'login_minutes'),
    *('login_attempts', 'request_kb', 'import_mb', 'text_limit'),
    'overlap_copies',
  )
  least = ('screening_tasks', 'labeler_budget', 'total_budget')
  found = [
    f'{name} is {getattr(s, name)}: give a share from 0 to 1.'
    for name in (*shares, 'screening_agreement')
    if not 0 <= getattr(s, name) <= 1
  ]
  found += [
    f'{name} is {getattr(s, name)}: give a number above 0.'
    for name in above
    if not getattr(s, name) > 0
  ]
  found += [
    f'{name} is {getattr(s, name)}: give 0 or more.'
    for name in least
    if getattr(s, name) < 0
  ]
  unknown = [kind for kind in s.kinds if kind not in ASKED]
  if unknown or not s.kinds:
    found.append(f'kinds is {s.kinds}: choose of {ASKED}.')
  if s.use not in USES:
    found.append(f'use is {s.use!r}: choose one of {USES}.')
  if len(s.completions) != 2 or not (
    2 <= s.completions[0] <= s.completions[1] <= 9
  ):
    found.append(f'completions is {s.completions}: give fewest and most, 2..9.')
  if not 0 <= s.port <= 65535:
    found.append(f'port is {s.port}: give 0 (any free one) to 65535.')
  if s.guidelines and not pathlib.Path(s.guidelines).is_file():
    found.append(f'guidelines: no file {s.guidelines}. Give a text file.')
  problem = url_problem(s.url) if s.url else ''
  return [*found, problem] if problem else found


def secret(folder: pathlib.Path) -> str:
  """Returns what cookies are signed with, the same at every start.

  That of the environment, else one of our own, which only its owner can read.

  Raises:
    ValueError: if that of the environment is too short to be one.
  """
  given = os.environ.get(SECRET, '')
  if given:
    if len(given) < MIN_SECRET:
      raise ValueError(
        f'{SECRET} has {len(given)} characters: give {MIN_SECRET} or more, '
        'such as those of `openssl rand -hex 32`.'
      )
    return given
  path = folder / 'secret'
  if not path.exists():
    folder.mkdir(parents=True, exist_ok=True)
    _make_secret(path)
  kept = path.read_text().strip()
  if len(kept) < MIN_SECRET:
    raise ValueError(f'{path}: no secret. Remove the file and start again.')
  return kept


def _make_secret(path: pathlib.Path) -> None:
  """Writes one for its owner alone; of two at once the first is kept."""
  new = path.with_name(f'.secret.{secrets.token_hex(8)}')
  with files.naming(path, new):
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
      with os.fdopen(handle, 'w') as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
      with contextlib.suppress(FileExistsError):
        os.link(new, path)
    finally:
      os.unlink(new)
    files.sync_folder(path.parent)


def shown(settings: Settings) -> dict[str, Any]:
  """Returns the settings as JSON has them; no secret is among them."""
  return json.loads(json.dumps(dataclasses.asdict(settings) | {'folder': ''}))


def keep(settings: Settings) -> None:
  """Writes the settings in use, for programs that share the folder."""
  values = shown(settings)
  files.write_text(settings.folder / KEPT, json.dumps(values, indent=2) + '\n')


def kept(folder: pathlib.Path) -> Settings | None:
  """Returns the settings of the application in DIR, None before its start.

  Raises:
    ValueError: if they are of another version, or were changed by hand.
  """
  path = folder / 'labeling' / KEPT
  try:
    values = json.loads(path.read_bytes())
    values.pop('folder')
    return make(values, folder, values.pop('seed'))
  except FileNotFoundError:
    return None
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f'{path}: not as it was written ({error}). Start the application again.'
    ) from error
