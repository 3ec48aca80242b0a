"""Who may use which route: one table, asked by one dependency of all routes.

A route that is not in the table keeps the application from starting.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute

from instructgpt_jax.labeling import security
from instructgpt_jax.labeling.storage.models import Labeler

# 'anyone' needs no account; 'member' is any account; 'labeler' and 'admin' are
# of that role alone. '!': no CSRF token, since nothing of a cookie is used.
ROUTES = {
  'GET /': 'anyone',
  'GET /health': 'anyone',
  'GET /login': 'anyone',
  'POST /login': 'anyone',
  'POST /logout': 'member',
  'GET /join/{token}': 'anyone',
  'POST /join/{token}': 'anyone',
  'GET /reset/{token}': 'anyone',
  'POST /reset/{token}': 'anyone',
  'GET /password': 'member',
  'POST /password': 'member',
  'GET /openapi.json': 'anyone',
  # Work
  'GET /guidelines': 'member',
  'GET /work': 'labeler',
  'POST /work/answer': 'labeler',
  'POST /work/flag': 'labeler',
  'POST /work/renew': 'labeler',
  'POST /work/skip': 'labeler',
  # Admin
  'GET /admin': 'admin',
  'GET /admin/agreement': 'admin',
  'GET /admin/audit': 'admin',
  'GET /admin/export': 'admin',
  'POST /admin/import': 'admin',
  'POST /admin/invite': 'admin',
  'POST /admin/invitations/{number}/revoke': 'admin',
  'GET /admin/labelers': 'admin',
  'POST /admin/labelers/{number}/reset': 'admin',
  'POST /admin/labelers/{number}/status': 'admin',
  'GET /admin/prompts': 'admin',
  'GET /admin/prompts/{number}': 'admin',
  'GET /admin/results': 'admin',
  # API
  'POST /api/login': 'anyone!',
  'GET /api/next': 'labeler',
  'POST /api/answer': 'labeler',
  'POST /api/skip': 'labeler',
  'GET /api/progress': 'admin',
  'GET /api/standing': 'admin',
  'POST /api/import': 'admin',
  'GET /api/export/{kind}': 'admin',
  'GET /api/figures': 'admin',
}
ROLES = ('anyone', 'member', 'labeler', 'admin')
SAFE = ('GET', 'HEAD', 'OPTIONS')
CSRF_FIELD = 'csrf'
CSRF_HEADER = 'x-csrf-token'


@dataclasses.dataclass(frozen=True)
class Caller:
  """Who asks. `csrf` is what the forms of the answer carry."""

  id: int | None = None
  name: str = ''
  role: str = 'anyone'
  csrf: str = ''


def keys(route: APIRoute) -> list[str]:
  """Returns the names of a route in the table, one per method."""
  return [f'{method} {route.path}' for method in sorted(route.methods or ())]


def check_table(routers: Iterable[APIRouter]) -> None:
  """Raises ValueError unless the table has the routes of these, no others."""
  served = {
    key
    for router in routers
    for route in router.routes
    if isinstance(route, APIRoute)
    for key in keys(route)
  }
  for key in sorted(served ^ ROUTES.keys()):
    where = 'is served but not in' if key in served else 'is not served but in'
    raise ValueError(f'{key} {where} access.ROUTES: put that right.')


async def guard(request: Request) -> None:
  """Puts the caller into request.state, or refuses with 401 or 403.

  Who asks and what for comes first: no body is read of those who may not send
  one.
  """
  wanted = ROUTES[f'{request.method} {request.scope["route"].path}']
  role = wanted.removesuffix('!')
  signer: security.Signer = request.app.state.signer
  scheme, _, bearer = request.headers.get('authorization', '').partition(' ')
  by_header = scheme.lower() == 'bearer'
  ticket = signer.read(
    bearer.strip() if by_header else request.cookies.get(security.COOKIE)
  )
  caller = await run_in_threadpool(_caller, request, ticket)
  request.state.caller = caller
  if role != 'anyone' and caller.id is None:
    raise HTTPException(401, 'Log in first.')
  if role in ('labeler', 'admin') and caller.role != role:
    raise HTTPException(403, 'This is not for your account.')
  # What stands in a header was put there on purpose, a cookie comes along.
  exempt = request.method in SAFE or by_header or wanted.endswith('!')
  if not exempt and not (
    ticket is not None and signer.is_csrf(ticket, await _token(request))
  ):
    raise HTTPException(403, 'This page is out of date. Reload it, try again.')


async def _token(request: Request) -> str:
  """Returns the CSRF token that a request carries, '' for none."""
  given = request.headers.get(CSRF_HEADER, '')
  kind = request.headers.get('content-type', '').partition(';')[0].strip()
  if not given and kind in (
    'application/x-www-form-urlencoded',
    'multipart/form-data',
  ):
    value = (await request.form()).get(CSRF_FIELD, '')
    given = value if isinstance(value, str) else ''
  return given


def _caller(request: Request, ticket: security.Ticket | None) -> Caller:
  if ticket is None:
    return Caller()
  csrf = request.app.state.signer.csrf(ticket)
  if ticket.labeler is None:
    return Caller(csrf=csrf)
  with request.app.state.database.reading() as session:
    found = session.get(Labeler, ticket.labeler)
  if (
    found is None
    or found.status == 'blocked'
    or found.generation != ticket.generation
  ):
    return Caller(csrf=csrf)
  return Caller(found.id, found.name, found.role, csrf)


def caller(request: Request) -> Caller:
  """Returns who asks, as `guard` found out."""
  return request.state.caller


Who = Annotated[Caller, Depends(caller)]
