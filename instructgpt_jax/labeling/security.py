"""Passwords, signed sessions, CSRF tokens and the limit of log-ins."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import hashlib
import hmac
import ipaddress
import secrets
import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import argon2
import itsdangerous

MIN_PASSWORD = 10  # characters
MAX_PASSWORD = 1000
COOKIE = 'session'
RESET_SECONDS = 86_400  # that a link for a new password lasts
P = ParamSpec('P')
T = TypeVar('T')

_HASHER = argon2.PasswordHasher()
# Each costs 64 MiB for a tenth of a second; the threads of requests are others,
# so that nobody at work waits for those who log in.
_ASIDE = concurrent.futures.ThreadPoolExecutor(2, 'argon2')
# What is verified for a name that nobody has: as slow as for one that exists.
_NOBODY = _HASHER.hash(secrets.token_hex(16))


def hash_password(password: str) -> str:
  """Returns its argon2id hash; raises ValueError for a bad choice."""
  if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
    raise ValueError(
      f'A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters.'
    )
  return _HASHER.hash(password)


def verify_password(hashed: str | None, password: str) -> bool:
  """Returns whether it is the one; takes the same time where hashed is None."""
  try:
    matches = _HASHER.verify(hashed or _NOBODY, password[:MAX_PASSWORD])
  except (
    argon2.exceptions.VerificationError,
    argon2.exceptions.InvalidHashError,
  ):
    return False
  return matches and hashed is not None


async def aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
  """Returns what `work` does with passwords, two of which are done at once."""
  loop = asyncio.get_running_loop()
  return await loop.run_in_executor(_ASIDE, lambda: work(*args, **kwargs))


def make_token() -> str:
  """Returns 256 random bits for a link."""
  return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
  """Returns what of a token is kept: a long random one needs no salt."""
  return hashlib.sha256(token.encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Ticket:
  """What a signed session says. `labeler` is None before the log-in."""

  labeler: int | None
  generation: int
  nonce: str


class Signer:
  """Signs and reads sessions, for as long as they last."""

  def __init__(self, secret: str, hours: float):
    self._secret = secret
    self.seconds = int(hours * 3600)
    self._serializer, self._resets = (
      itsdangerous.URLSafeTimedSerializer(
        secret, salt=salt, signer_kwargs={'digest_method': hashlib.sha256}
      )
      for salt in ('session', 'reset')
    )

  def sign(self, labeler: int | None, generation: int = 0) -> str:
    """Returns a new session, with a nonce of its own."""
    return self._serializer.dumps(
      [labeler, generation, secrets.token_urlsafe(16)]
    )

  def read(self, signed: str | None) -> Ticket | None:
    """Returns the ticket, None where it is absent, forged or too old."""
    if not signed:
      return None
    try:
      labeler, generation, nonce = self._serializer.loads(
        signed, max_age=self.seconds
      )
    except itsdangerous.BadData:
      return None
    return Ticket(labeler, generation, nonce)

  def csrf(self, ticket: Ticket) -> str:
    """Returns the token that forms of this session carry."""
    return hmac.new(
      self._secret.encode(), f'csrf {ticket.nonce}'.encode(), hashlib.sha256
    ).hexdigest()

  def is_csrf(self, ticket: Ticket, token: str) -> bool:
    return hmac.compare_digest(
      self.csrf(ticket).encode(), token.encode(errors='replace')
    )

  def sign_reset(self, labeler: int, hashed: str) -> str:
    """Returns a token to choose a new password with, in place of that one.

    It is of no use once the password is another.
    """
    return self._resets.dumps([labeler, hash_token(hashed)])

  def read_reset(self, token: str) -> tuple[int, str] | None:
    """Returns the account, and the hash of the hash it had then; or None."""
    try:
      labeler, digest = self._resets.loads(token, max_age=RESET_SECONDS)
    except itsdangerous.BadData:
      return None
    return labeler, digest


def network(address: str) -> str:
  """Returns what one household has: an address, of IPv6 the first 64 bits."""
  try:
    found = ipaddress.ip_address(address)
  except ValueError:
    return address
  if isinstance(found, ipaddress.IPv4Address):
    return address
  home = ipaddress.IPv6Network((int(found), 64), strict=False)
  return str(found.ipv4_mapped or home)


class Limiter:
  """Counts attempts by key, e.g. of a name or an address, for a while.

  The while begins with the first attempt. Of more keys than `most` the oldest
  is forgotten, so that nobody fills the memory.
  """

  def __init__(
    self,
    attempts: int,
    minutes: float,
    clock: Callable[[], float] = time.time,
    most: int = 20_000,
  ):
    self._attempts, self._seconds, self._clock = attempts, minutes * 60, clock
    # Key: when it began, and attempts since; in the order of their beginning.
    self._made: dict[str, tuple[float, int]] = {}
    self._most, self._lock = most, threading.Lock()

  def __len__(self) -> int:
    return len(self._made)

  def attempt(self, key: str) -> float:
    """Returns the seconds to wait; 0 allows the attempt, and counts it.

    It is counted before its end is known, so that many at once are no way
    around the limit.
    """
    now = self._clock()
    with self._lock:
      self._forget(now)
      began, made = self._made.get(key, (now, 0))
      if made >= self._attempts:
        return began + self._seconds - now
      self._made[key] = began, made + 1
      if len(self._made) > self._most:
        del self._made[next(iter(self._made))]
      return 0.0

  def give_back(self, key: str) -> None:
    """Uncounts an attempt that was none, or did no harm."""
    with self._lock:
      began, made = self._made.get(key, (0.0, 0))
      if made > 1:
        self._made[key] = began, made - 1
      else:
        self._made.pop(key, None)

  def forget(self, key: str) -> None:
    """Forgets the attempts of a key."""
    with self._lock:
      self._made.pop(key, None)

  def _forget(self, now: float) -> None:
    """Drops what is older."""
    while self._made:
      key = next(iter(self._made))
      if self._made[key][0] > now - self._seconds:
        return
      del self._made[key]
