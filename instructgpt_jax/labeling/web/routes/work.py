"""The pages of labelers: a task, and what can be done with it."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy import orm
from starlette.datastructures import FormData

from instructgpt_jax.labeling import (
  accounts,
  answers,
  assignment,
  payloads,
  screening,
)
from instructgpt_jax.labeling.settings import Settings
from instructgpt_jax.labeling.storage.models import Labeler, Task
from instructgpt_jax.labeling.web import access, forms, pages

router = APIRouter(include_in_schema=False)

TITLES = {
  'demonstration': 'Write a reply',
  'rating': 'Rate this output',
  'ranking': 'Rank the outputs',
  'comparison': 'Compare two outputs',
  'screening': 'Rank the outputs',
}
TEMPLATES = {kind: f'work/{kind}.html' for kind in TITLES} | {
  'screening': 'work/ranking.html'
}
# Of Offer.reason: a title, and what there is to say.
RESTS = {
  'failed': (
    'Thank you',
    'Your answers to the screening test did not agree with ours often enough, '
    'so there is no further work for you here.',
  ),
  'blocked': ('No more work', 'Your account has been closed.'),
  'untested': (
    'Nothing to do yet',
    'Work begins with a screening test, which the team has still to prepare.',
  ),
  'budget': (
    'All done',
    'You have answered as many tasks as one person may. Thank you.',
  ),
  'total': (
    'All done',
    'All the answers that were wanted are there, or on their way.',
  ),
  'nothing': (
    'Nothing to do now',
    'Every task is answered, or in the hands of others. Tasks come back when '
    'somebody skips them or runs out of time.',
  ),
}
AGAIN = ('untested', 'total', 'nothing')
DONE = {
  'saved': 'Saved. Here is the next one.',
  'skipped': 'Skipped. Here is another one.',
  'flagged': 'Flagged. Thank you; the task is still yours.',
  'passed': 'You have passed the screening test. Here is your first real task.',
}


async def fields(request: Request) -> FormData:
  """Returns the form, which the check of its token has read already."""
  return await request.form()


Fields = Annotated[FormData, Depends(fields)]


@router.get('/guidelines')
def guidelines_page(request: Request) -> Response:
  return pages.page(request, 'guidelines.html')


@router.get('/work')
def work_page(request: Request, who: access.Who, did: str = '') -> Response:
  return _task_page(request, who, DONE.get(did, ''))


@router.post('/work/answer')
def answer(request: Request, who: access.Who, form: Fields) -> Response:
  def work(session: orm.Session) -> str:
    labeler = session.get_one(Labeler, who.id)
    lease = assignment.own(session, labeler, _lease(form))
    kind = session.get_one(Task, lease.task_id).kind
    before = labeler.status
    answers.submit(
      session,
      labeler,
      lease.id,
      payload=forms.payload(kind, form, len(lease.order)),
      client_key=forms.text(form, 'client_key'),
      now=request.app.state.clock(),
      settings=request.app.state.settings,
      seconds=forms.seconds(form),
    )
    return 'saved' if labeler.status == before else 'passed'

  return _done(request, who, work, forms.text(form, 'response'))


@router.post('/work/skip')
def skip(request: Request, who: access.Who, form: Fields) -> Response:
  def work(session: orm.Session) -> str:
    parts = (forms.text(form, 'reason'), forms.text(form, 'note').strip())
    answers.skip(
      session,
      session.get_one(Labeler, who.id),
      _lease(form),
      ': '.join(filter(None, parts)),
      request.app.state.clock(),
    )
    return 'skipped'

  return _done(request, who, work)


@router.post('/work/flag')
def flag(request: Request, who: access.Who, form: Fields) -> Response:
  def work(session: orm.Session) -> str:
    now, kind = request.app.state.clock(), forms.text(form, 'kind')
    answers.flag(
      session,
      session.get_one(Labeler, who.id),
      _lease(form),
      kind,
      now,
      output=forms.number(form, 'output'),
      note=forms.text(form, 'note'),
    )
    accounts.record(session, now, who.id, 'flag', lease=_lease(form), kind=kind)
    return 'flagged'

  return _done(request, who, work)


@router.post('/work/renew')
def renew(request: Request, who: access.Who, form: Fields) -> Response:
  """Gives a task that is still worked on all its time again."""
  now = request.app.state.clock()

  def work(session: orm.Session) -> float:
    labeler = session.get_one(Labeler, who.id)
    lease = assignment.own(session, labeler, _lease(form))
    return assignment.hold(
      session, lease, now, request.app.state.settings
    ).expires

  try:
    expires = request.app.state.database.write(work)
  except assignment.LeaseError as error:
    return JSONResponse({'detail': str(error)}, 409)
  return JSONResponse({'seconds_left': expires - now})


def _lease(form: FormData) -> int:
  return forms.number(form, 'lease') or 0


def _done(
  request: Request, who: access.Who, work: Any, written: str = ''
) -> Response:
  """Does the work and goes on; what is wrong is said, what was written kept."""
  try:
    did = request.app.state.database.write(work)
  except payloads.AnswerError as error:
    return _task_page(
      request, who, problem=str(error), written=written, status=400
    )
  except assignment.LeaseError as error:
    return pages.page(
      request,
      'work/rest.html',
      409,
      title='Not saved',
      lines=(str(error),),
      said='',
      written=written,
      again='Go to the next task',
    )
  return RedirectResponse(f'/work?did={did}', 303)


def _task_page(
  request: Request,
  who: access.Who,
  said: str = '',
  *,
  problem: str = '',
  written: str = '',
  status: int = 200,
) -> Response:
  state = request.app.state
  now = state.clock()

  def work(session: orm.Session) -> tuple[str, dict[str, Any] | None]:
    labeler = session.get_one(Labeler, who.id)
    offer = assignment.next_task(session, labeler, now, state.settings)
    if offer.lease is None:
      return offer.reason, None
    task = assignment.view(session, offer.lease)
    task['test'] = _test(session, labeler, state.settings)
    return '', task

  reason, task = state.database.write(work)
  if task is None:
    title, line = RESTS[reason]
    return pages.page(
      request,
      'work/rest.html',
      title=title,
      lines=(line,),
      said='Your answer is saved.' if said == DONE['saved'] else '',
      written='',
      again='Look again' if reason in AGAIN else '',
    )
  task['outputs'] = [
    {'letter': chr(ord('A') + n), 'text': text}
    for n, text in enumerate(task['outputs'])
  ]
  return pages.page(
    request,
    TEMPLATES[task['kind']],
    status,
    title=TITLES[task['kind']],
    task=task,
    until=time.strftime('%H:%M', time.gmtime(task['expires'])),
    seconds_left=round(task['expires'] - now),
    client_key=secrets.token_urlsafe(16),
    said=said,
    problem=problem,
    written=written,
    flags=payloads.FLAGS,
    reasons=answers.REASONS,
    flag_kinds=answers.FLAG_KINDS,
    longest=state.settings.text_limit,
  )


def _test(
  session: orm.Session, labeler: Labeler, settings: Settings
) -> dict[str, int] | None:
  """Returns how far a labeler is in the screening test; None outside it."""
  if labeler.status != 'screening':
    return None
  return {
    'number': screening.done(session, labeler) + 1,
    'of': settings.screening_tasks,
  }
