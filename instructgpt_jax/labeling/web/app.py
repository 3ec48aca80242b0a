"""The application: state, middleware, routes, errors."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError
from starlette.exceptions import HTTPException as AnyHTTPException

from instructgpt_jax.labeling import security
from instructgpt_jax.labeling.settings import Settings, secret
from instructgpt_jax.labeling.storage.database import Database, Unreachable
from instructgpt_jax.labeling.web import access, middleware, pages
from instructgpt_jax.labeling.web.routes import (
  admin,
  api,
  passwords,
  public,
  reports,
  work,
)

ROUTERS = tuple(
  module.router for module in (public, passwords, work, admin, reports, api)
)
# Uploads of data have a limit of their own.
IMPORTS = ('/api/import', '/admin/import')


# One address may try the names of so many people.
ADDRESS_FACTOR = 20


def create_app(settings: Settings) -> FastAPI:
  """Returns the application on the migrated database of the settings.

  `app.state` has settings, database, signer, the limiters of log-ins by name
  and by address, and `clock`, which returns the seconds since 1970.

  Raises:
    ValueError: for a secret that is none, or a route without a role.
  """

  @contextlib.asynccontextmanager
  async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.database.close()

  app = FastAPI(
    title='instructgpt_jax labeling',
    dependencies=[Depends(access.guard)],
    lifespan=lifespan,
    docs_url=None,  # would load scripts from elsewhere
    redoc_url=None,
    openapi_url=None,  # a route of ours, to be in the table of roles
  )
  app.state.settings = settings
  app.state.database = Database(settings.database_url)
  app.state.signer = security.Signer(
    secret(settings.folder), settings.session_hours
  )
  attempts, minutes = settings.login_attempts, settings.login_minutes
  app.state.names = security.Limiter(attempts, minutes)
  app.state.addresses = security.Limiter(ADDRESS_FACTOR * attempts, minutes)
  app.state.clock = time.time
  app.mount('/static', StaticFiles(directory=pages.STATIC), 'static')
  for router in ROUTERS:
    app.include_router(router)
  app.add_exception_handler(AnyHTTPException, _refused)
  app.add_exception_handler(RequestValidationError, _misfit)
  for error in (OperationalError, InterfaceError, TimeoutError, Unreachable):
    app.add_exception_handler(error, _unavailable)
  app.add_middleware(
    middleware.BodyLimit,
    limit=settings.request_kb * 1024,
    larger=dict.fromkeys(IMPORTS, settings.import_mb * 2**20),
  )
  app.add_middleware(middleware.Headers, https=settings.https)
  access.check_table(ROUTERS)
  return app


async def _refused(request: Request, error: Any) -> Response:
  """Answers a browser with a page, everything else with JSON."""
  wants_page = 'text/html' in request.headers.get('accept', '')
  if request.url.path.startswith('/api/') or not wants_page:
    return await http_exception_handler(request, error)
  if error.status_code == 401:
    return RedirectResponse('/login', 303)
  if not hasattr(request.state, 'caller'):
    request.state.caller = access.Caller()
  return pages.page(
    request, 'error.html', error.status_code, message=str(error.detail)
  )


async def _misfit(_: Request, error: Any) -> Response:
  """Says what does not fit, without what came: JSON cannot hold all of it."""
  said = [
    {name: found[name] for name in ('loc', 'msg', 'type')}
    for found in error.errors()
  ]
  return JSONResponse({'detail': said}, 422)


async def _unavailable(request: Request, _: Exception) -> Response:
  """Says of a database that does not answer that nothing was done."""
  logging.exception('%s %s', request.method, request.url.path)
  return await _refused(
    request,
    HTTPException(
      503, 'Nothing was saved. Try again.', headers={'retry-after': '5'}
    ),
  )
