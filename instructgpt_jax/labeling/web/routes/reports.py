"""The pages of admins on what people have said so far."""

from __future__ import annotations

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response

from instructgpt_jax.labeling import figures, payloads, progress, said
from instructgpt_jax.labeling.storage.models import Labeler
from instructgpt_jax.labeling.web import pages

router = APIRouter(prefix='/admin', include_in_schema=False)

# Of the paper, to compare with (3.4): among labelers who made the training
# data, and among held-out ones.
PAPER = {'train': '72.6 ± 1.5%', 'heldout': '77.3 ± 1.3%'}


@router.get('')
def progress_page(request: Request) -> Response:
  now = request.app.state.clock()
  with request.app.state.database.reading() as session:
    counts = progress.progress(session)
    pace = progress.throughput(session, now)
  return pages.page(
    request,
    'admin/progress.html',
    counts=counts,
    pace=pace,
    days=[(day, sum(by.values())) for day, by in reversed(pace.days)],
  )


@router.get('/agreement')
def agreement_page(request: Request) -> Response:
  with request.app.state.database.reading() as session:
    rows = list(said.read(session))
    names = dict(session.execute(sa.select(Labeler.id, Labeler.name)).all())
    pseudonyms = said.pseudonyms(session)
  return pages.page(
    request,
    'admin/agreement.html',
    groups=figures.agreements(rows),
    paper=PAPER,
    habits=figures.labelers(rows),
    names={alias: names[number] for number, alias in pseudonyms.items()},
  )


@router.get('/results')
def results_page(request: Request) -> Response:
  with request.app.state.database.reading() as session:
    rows = list(said.read(session))
  return pages.page(
    request,
    'admin/results.html',
    wins=figures.win_rates(rows),
    likert=figures.likert(rows),
    flags=figures.flags(rows),
    words=payloads.FLAGS,
  )
