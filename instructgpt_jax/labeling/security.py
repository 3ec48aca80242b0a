"""Passwords, signed sessions, CSRF tokens and the limit of log-ins."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable

import argon2
import itsdangerous

MIN_PASSWORD = 10  # characters
MAX_PASSWORD = 1000
COOKIE = 'session'

_HASHER = argon2.PasswordHasher()
# Each costs 64 MiB for a tenth of a second.
_AT_ONCE = threading.Semaphore(2)
# What is verified for a name that nobody has: as slow as for one that exists.
_NOBODY = _HASHER.hash(secrets.token_hex(16))


def hash_password(password: str) -> str:
  """Returns its argon2id hash; raises ValueError for a bad choice."""
  if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
    raise ValueError(
      f'A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters.'
    )
  with _AT_ONCE:
    return _HASHER.hash(password)


def verify_password(hashed: str | None, password: str) -> bool:
  """Returns whether it is the one; takes the same time where hashed is None."""
  with _AT_ONCE:
    try:
      matches = _HASHER.verify(hashed or _NOBODY, password[:MAX_PASSWORD])
    except (
      argon2.exceptions.VerificationError,
      argon2.exceptions.InvalidHashError,
    ):
      return False
  return matches and hashed is not None


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
    self._serializer = itsdangerous.URLSafeTimedSerializer(
      secret, salt='session', signer_kwargs={'digest_method': hashlib.sha256}
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
    return hmac.compare_digest(self.csrf(ticket).encode(), token.encode())


class Limiter:
  """Counts attempts by key, e.g. of a name or an address, for a while."""

  def __init__(
    self, attempts: int, minutes: float, clock: Callable[[], float] = time.time
  ):
    self._attempts, self._seconds, self._clock = attempts, minutes * 60, clock
    self._made: dict[str, collections.deque[float]] = {}
    self._lock = threading.Lock()

  def attempt(self, key: str) -> float:
    """Returns the seconds to wait; 0 allows the attempt, and counts it.

    It is counted before its end is known, so that many at once are no way
    around the limit.
    """
    now = self._clock()
    with self._lock:
      self._forget(now)
      made = self._made.setdefault(key, collections.deque())
      if len(made) >= self._attempts:
        return made[0] + self._seconds - now
      made.append(now)
      return 0.0

  def succeed(self, key: str) -> None:
    """Forgets the attempts of a key."""
    with self._lock:
      self._made.pop(key, None)

  def _forget(self, now: float) -> None:
    """Drops what is older; keys in the order of their first attempt."""
    for key, made in list(self._made.items()):
      while made and made[0] <= now - self._seconds:
        made.popleft()
      if not made:
        del self._made[key]
