"""The pages of admins on what is there and who is there."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import orm
from starlette.datastructures import FormData, UploadFile

from instructgpt_jax.labeling import (
  accounts,
  answers,
  imports,
  incoming,
  listings,
  payloads,
)
from instructgpt_jax.labeling.storage.models import ASKED, Labeler
from instructgpt_jax.labeling.web import access, forms, pages

router = APIRouter(prefix='/admin', include_in_schema=False)

# What an admin may set: the others come of the screening test.
STATUSES = ('active', 'screening', 'blocked')
LAST_PAGE = 10_000_000
Word = Annotated[str, Form(max_length=200)]


async def upload(request: Request) -> tuple[bytes, str, FormData]:
  """Returns the file of a form with its name, and the rest of the form."""
  form = await request.form()
  file = form.get('file')
  if not isinstance(file, UploadFile):
    return b'', '', form
  name = forms.line(file.filename or '') or 'upload'
  return await file.read(), name, form


@router.get('/prompts')
def prompts_page(
  request: Request, page: str = '1', words: str = ''
) -> Response:
  return _prompts(request, page, words)


@router.post('/import')
def import_file(
  request: Request,
  who: access.Who,
  sent: Annotated[tuple[bytes, str, FormData], Depends(upload)],
) -> Response:
  body, name, form = sent
  state = request.app.state
  kinds = tuple(k for k in form.getlist('kinds') if k in ASKED)
  try:
    items = incoming.of_bytes(body, forms.text(form, 'use') or 'work', name)
    found = imports.store(
      state.database,
      items,
      state.settings,
      state.clock(),
      batch=forms.line(forms.text(form, 'batch')) or name,
      kinds=kinds,
      by=who.id,
    )
  except ValueError as error:
    return _prompts(request, problem=str(error), status=400)
  said = 'Imported: {prompts} new prompts, {outputs} outputs, {tasks} tasks.'
  return _prompts(request, said=said.format(**found))


@router.get('/prompts/{number}')
def prompt_page(request: Request, number: str) -> Response:
  with request.app.state.database.reading() as session:
    found = listings.prompt(session, _id(number))
    if found is None:
      raise HTTPException(404, 'There is no such prompt.')
    return pages.page(
      request,
      'admin/prompt.html',
      flag_kinds=answers.FLAG_KINDS,
      flags_of_outputs=payloads.FLAGS,
      **found,
    )


@router.get('/labelers')
def labelers_page(request: Request) -> Response:
  return _labelers(request)


@router.post('/invite')
def invite(
  request: Request, who: access.Who, role: Word, group: Word, note: Word = ''
) -> Response:
  """Shows the link once: its token is kept nowhere."""
  state = request.app.state
  try:
    token = state.database.write(
      lambda session: accounts.invite(
        session,
        state.clock(),
        role=role,
        group=group,
        days=state.settings.invitation_days,
        by=who.id,
        note=forms.line(note),
        heldout_share=state.settings.heldout_share,
      )
    )
  except ValueError as error:
    return _labelers(request, problem=str(error), status=400)
  return _labelers(request, link=f'{request.base_url}join/{token}')


@router.post('/labelers/{number}/status')
def set_status(
  request: Request, who: access.Who, number: str, status: Word
) -> Response:
  state = request.app.state
  try:
    if status not in STATUSES:
      raise ValueError(f'A status is one of {STATUSES}.')
    state.database.write(
      lambda session: accounts.set_status(
        session, _id(number), status, state.clock(), who.id or 0
      )
    )
  except ValueError as error:
    return _labelers(request, problem=str(error), status=400)
  return RedirectResponse('/admin/labelers', 303)


@router.post('/labelers/{number}/reset')
def reset(request: Request, who: access.Who, number: str) -> Response:
  """Shows a link once with which somebody can choose a new password."""
  state = request.app.state

  def work(session: orm.Session) -> Labeler:
    found = session.get(Labeler, _id(number))
    if found is None:
      raise HTTPException(404, 'There is no such account.')
    accounts.record(
      session, state.clock(), who.id, 'reset link', labeler=found.id
    )
    return found

  found = state.database.write(work)
  token = state.signer.sign_reset(found.id, found.password)
  return _labelers(
    request, link=f'{request.base_url}reset/{token}', link_for=found.name
  )


@router.post('/invitations/{number}/revoke')
def revoke(request: Request, who: access.Who, number: str) -> Response:
  state = request.app.state
  try:
    state.database.write(
      lambda session: accounts.revoke(
        session, _id(number), state.clock(), who.id or 0
      )
    )
  except ValueError as error:
    return _labelers(request, problem=str(error), status=400)
  return RedirectResponse('/admin/labelers', 303)


@router.get('/audit')
def audit_page(request: Request, before: str = '') -> Response:
  with request.app.state.database.reading() as session:
    rows = listings.audit(session, forms.whole(before))
  more = rows[-1][0].id if len(rows) == listings.PAGE else None
  return pages.page(request, 'admin/audit.html', rows=rows, more=more)


@router.get('/export')
def export_page(request: Request) -> Response:
  return pages.page(request, 'admin/export.html')


def _id(text: str) -> int:
  """Returns a number of an address, that of nobody where it is none."""
  return forms.whole(text) or 0


def _prompts(
  request: Request,
  page: str = '1',
  words: str = '',
  *,
  said: str = '',
  problem: str = '',
  status: int = 200,
) -> Response:
  number = min(max(1, forms.whole(page) or 1), LAST_PAGE)
  words = forms.line(words)
  with request.app.state.database.reading() as session:
    rows, count = listings.prompts(session, number, words)
  return pages.page(
    request,
    'admin/prompts.html',
    status,
    rows=rows,
    count=count,
    number=number,
    last=max(1, -(-count // listings.PAGE)),
    words=words,
    kinds=ASKED,
    chosen=request.app.state.settings.kinds,
    said=said,
    problem=problem,
  )


def _labelers(
  request: Request,
  *,
  link: str = '',
  link_for: str = '',
  problem: str = '',
  status: int = 200,
) -> Response:
  state = request.app.state
  with state.database.reading() as session:
    values: dict[str, Any] = {
      'rows': listings.labelers(session),
      'open': listings.invitations(session, state.clock()),
    }
  return pages.page(
    request,
    'admin/labelers.html',
    status,
    link=link,
    link_for=link_for,
    problem=problem,
    days=state.settings.invitation_days,
    **values,
  )
