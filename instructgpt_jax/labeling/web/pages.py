"""HTML from templates; every value is escaped."""

from __future__ import annotations

import functools
import pathlib
import time
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from instructgpt_jax.labeling import security

FOLDER = pathlib.Path(__file__).parent
STATIC = FOLDER / 'static'

MENU = {
  'admin': (
    ('/admin', 'Progress'),
    ('/admin/prompts', 'Prompts'),
    ('/admin/labelers', 'Labelers'),
    ('/admin/agreement', 'Agreement'),
    ('/admin/results', 'Results'),
    ('/admin/export', 'Export'),
    ('/admin/audit', 'Audit'),
    ('/guidelines', 'Guidelines'),
  ),
  'labeler': (('/work', 'Work'), ('/guidelines', 'Guidelines')),
}

_ENVIRONMENT = jinja2.Environment(
  loader=jinja2.FileSystemLoader(FOLDER / 'templates'),
  autoescape=True,
  undefined=jinja2.StrictUndefined,
  trim_blocks=True,
  lstrip_blocks=True,
)


def moment(seconds: float | None) -> str:
  """Returns a time since 1970 as people read it, in UTC."""
  if seconds is None:
    return ''
  return time.strftime('%Y-%m-%d %H:%M', time.gmtime(seconds))


def duration(seconds: float | None) -> str:
  """Returns seconds as 45 s, 3.2 min or 1.5 h."""
  if seconds is None:
    return ''
  if seconds < 99.5:
    return f'{seconds:.0f} s'
  if seconds < 6000:
    return f'{seconds / 60:.1f} min'
  return f'{seconds / 3600:.1f} h'


def percent(share: float | None) -> str:
  return '' if share is None else f'{100 * share:.1f}%'


_ENVIRONMENT.filters.update(moment=moment, duration=duration, percent=percent)
_ENVIRONMENT.globals['shortest_password'] = security.MIN_PASSWORD


def page(
  request: Request, template: str, status: int = 200, **values: Any
) -> HTMLResponse:
  """Returns a page; `caller`, `menu`, `path` and `guidelines` are in all."""
  values.setdefault('caller', request.state.caller)
  values['menu'] = MENU.get(values['caller'].role, ())
  values['path'] = request.url.path
  values['guidelines'] = _guidelines(request.app.state.settings.guidelines)
  text = _ENVIRONMENT.get_template(template).render(**values)
  return HTMLResponse(text, status)


@functools.cache
def _guidelines(path: str) -> str:
  """Returns what the admin has written, '' for ours."""
  return pathlib.Path(path).read_text() if path else ''
