"""Tasks to hand out, people to do them, and the answers they could give."""

import itertools
import json

from instructgpt_jax.labeling import answers, assignment, imports, incoming
from instructgpt_jax.labeling.payloads import FLAGS
from instructgpt_jax.labeling.storage.models import Labeler

NOW = 1_800_000_000.0
_KEYS = itertools.count()


def jsonl(*records):
  return '\n'.join(map(json.dumps, records)).encode()


def ranked(name, k=3, **more):
  """Returns a record of a prompt with K responses."""
  responses = [f'{name} response {i}' for i in range(k)]
  return {'id': name, 'prompt': f'Ask {name}', 'responses': responses, **more}


def load(database, settings, *records, use='work', **options):
  """Returns the counts of an import of these records."""
  items = incoming.of_bytes(jsonl(*records), use)
  return imports.store(database, items, settings, NOW, **options)


def hire(database, name, group='train', status='active'):
  """Returns the id of a new labeler."""

  def work(session):
    labeler = Labeler(
      name=name,
      password='',
      role='labeler',
      group=group,
      status=status,
      created=NOW,
    )
    session.add(labeler)
    session.flush()
    return labeler.id

  return database.write(work)


def take(database, settings, labeler, now=NOW):
  """Returns what the labeler is shown next, or the reason of nothing."""

  def work(session):
    offer = assignment.next_task(
      session, session.get_one(Labeler, labeler), now, settings
    )
    if offer.lease is None:
      return offer.reason
    return assignment.view(session, offer.lease)

  return database.write(work)


def give(database, settings, labeler, lease, payload, *, now=NOW, key=''):
  """Returns (id of the answer, whether it is new)."""

  def work(session):
    answer, new = answers.submit(
      session,
      session.get_one(Labeler, labeler),
      lease,
      payload=payload,
      client_key=key or f'client-key-{next(_KEYS)}',
      now=now,
      settings=settings,
    )
    return answer.id, new

  return database.write(work)


def say(shown, best=None):
  """Returns an answer to a task: outputs are ranked by their text."""
  if shown['kind'] == 'demonstration':
    return {'response': f'Reply to {shown["prompt"]}'}
  if shown['kind'] == 'rating':
    return {'quality': 5, 'flags': dict.fromkeys(FLAGS, False)}
  order = sorted(shown['outputs'], key=best)
  return {'ranks': [order.index(output) + 1 for output in shown['outputs']]}


def do(database, settings, labeler, now=NOW, best=None):
  """Returns the task that the labeler took and answered, or the reason."""
  shown = take(database, settings, labeler, now)
  if not isinstance(shown, str):
    payload = say(shown, best)
    give(database, settings, labeler, shown['lease'], payload, now=now)
  return shown
