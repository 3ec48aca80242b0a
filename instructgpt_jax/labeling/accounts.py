"""Invitations, accounts and what changes them; each change is in the audit."""

from __future__ import annotations

import re
import secrets
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from instructgpt_jax.labeling import security
from instructgpt_jax.labeling.storage.models import (
  GROUPS,
  ROLES,
  Audit,
  Invitation,
  Labeler,
)

# What the audit log says of a log-in that nobody made good.
FAILED = 'log in failed'
NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._@+-]{1,63}')


def record(
  session: orm.Session,
  now: float,
  by: int | None,
  action: str,
  **detail: Any,
) -> None:
  """Adds a row to the audit log."""
  session.add(Audit(at=now, labeler_id=by, action=action, detail=detail))


def invite(
  session: orm.Session,
  now: float,
  *,
  role: str,
  group: str,
  days: float,
  by: int | None,
  note: str = '',
  heldout_share: float = 0.0,
) -> str:
  """Returns the token of a new invitation; it is kept nowhere.

  Of labelers invited to the group 'auto', that share is held out.

  Raises:
    ValueError: for a role or group that there is not.
  """
  if role not in ROLES or group not in (*GROUPS, 'auto'):
    raise ValueError(f'A role is one of {ROLES}, a group one of {GROUPS}.')
  if group == 'auto':
    group = (
      _next_group(session, heldout_share) if role == 'labeler' else 'train'
    )
  token = security.make_token()
  invitation = Invitation(
    token_hash=security.hash_token(token),
    role=role,
    group=group,
    note=note[:200],
    created=now,
    expires=now + days * 86_400,
    created_by=by,
  )
  session.add(invitation)
  session.flush()
  record(
    session, now, by, 'invite', invitation=invitation.id, role=role, group=group
  )
  return token


def _next_group(session: orm.Session, heldout_share: float) -> str:
  """Returns the group that brings the labelers nearest to the share."""
  groups = list(
    session.scalars(
      sa.select(Invitation.group).where(Invitation.role == 'labeler')
    )
  )
  fewer = groups.count('heldout') + 0.5 < heldout_share * (len(groups) + 1)
  return 'heldout' if fewer else 'train'


def invitation(
  session: orm.Session, token: str, now: float
) -> Invitation | None:
  """Returns the invitation of a token if it can still be used."""
  found = session.scalar(
    sa.select(Invitation).where(
      Invitation.token_hash == security.hash_token(token)
    )
  )
  usable = found is not None and found.used is None and found.expires > now
  return found if usable else None


def join(
  session: orm.Session, token: str, name: str, hashed: str, now: float
) -> Labeler:
  """Returns the new account that the invitation of `token` makes.

  Raises:
    ValueError: if the invitation cannot be used, or the name not be had.
  """
  found = invitation(session, token, now)
  if found is None:
    raise ValueError(
      'This invitation was used, or is too old. Ask for another.'
    )
  if not NAME.fullmatch(name):
    raise ValueError(
      'A name has 2 to 64 letters, digits or . _ @ + -, and begins with a '
      'letter or digit.'
    )
  taken = sa.func.lower(Labeler.name) == name.lower()
  if session.scalar(sa.select(Labeler.id).where(taken)) is not None:
    raise ValueError('This name is taken. Choose another.')
  # Held-out labelers stand for people who were not selected (3.4).
  screened = found.role == 'labeler' and found.group == 'train'
  labeler = Labeler(
    name=name,
    password=hashed,
    role=found.role,
    group=found.group,
    status='screening' if screened else 'active',
    # Drawn: a backup that is restored may give this id to somebody else, whom
    # the sessions of this account are not to be of.
    generation=secrets.randbelow(2**30),
    created=now,
  )
  session.add(labeler)
  session.flush()
  found.used, found.used_by = now, labeler.id
  record(session, now, labeler.id, 'join', invitation=found.id)
  return labeler


def find(session: orm.Session, name: str) -> Labeler | None:
  """Returns the account of a name, upper and lower case being one."""
  if not NAME.fullmatch(name):  # nor would every database take it
    return None
  return session.scalar(
    sa.select(Labeler).where(sa.func.lower(Labeler.name) == name.lower())
  )


def has_admin(session: orm.Session) -> bool:
  """Returns whether anybody can administer; a blocked one cannot."""
  return (
    session.scalar(
      sa.select(Labeler.id)
      .where(Labeler.role == 'admin', Labeler.status != 'blocked')
      .limit(1)
    )
    is not None
  )


def revoke(session: orm.Session, number: int, now: float, by: int) -> None:
  """Ends an invitation; raises ValueError if there is no open one."""
  found = session.get(Invitation, number)
  if found is None or found.used is not None or found.expires <= now:
    raise ValueError(f'There is no open invitation {number}.')
  found.expires = now
  record(session, now, by, 'revoke', invitation=number)


def log_out(session: orm.Session, labeler_id: int, now: float) -> None:
  """Ends all sessions of an account."""
  session.get_one(Labeler, labeler_id).generation += 1
  record(session, now, labeler_id, 'log out')


def set_password(
  session: orm.Session, labeler_id: int, hashed: str, now: float, action: str
) -> Labeler:
  """Returns the account with a new password; its sessions have ended."""
  labeler = session.get_one(Labeler, labeler_id)
  labeler.password = hashed
  labeler.generation += 1
  record(session, now, labeler_id, action)
  return labeler


def set_status(
  session: orm.Session, labeler_id: int, status: str, now: float, by: int
) -> Labeler:
  """Returns the account, changed; blocking ends its sessions.

  A blocked one that is made 'active' is again what it was before.

  Raises:
    ValueError: if there is no such account, or it is the caller's own.
  """
  labeler = session.get(Labeler, labeler_id)
  if labeler is None:
    raise ValueError(f'There is no account {labeler_id}.')
  if labeler_id == by:
    raise ValueError('Nobody can change the status of their own account.')
  before = labeler.status
  if status == 'active' and before == 'blocked':
    # Back to where they were: nobody passes the screening by being blocked.
    status = labeler.before or status
  elif status == 'blocked' and before != status:
    labeler.before = before
    labeler.generation += 1
  labeler.status = status
  record(
    session, now, by, 'status', labeler=labeler_id, before=before, after=status
  )
  return labeler
