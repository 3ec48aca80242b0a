"""Simulated labelers who work over HTTP, as people do in a browser."""

import json
import time

from benchmarks.labeling_server import PASSWORD
from instructgpt_jax import simulation
from instructgpt_jax.data import records
from instructgpt_jax.labeling.client import Client


def offered(path):
  """Returns {(prompt, responses): the record} of what collect offers."""
  found = {}
  for record, _ in records.read_records(path, 'prompts'):
    key = (record['prompt'].strip(), *sorted(record['responses']))
    found[key] = record
  return found


def rank_all(url, path, labelers, *, finished, asked):
  """Lets each labeler of the world rank until `finished()`.

  `asked` takes the tasks as they were sent, to be looked at.
  """
  people = {}
  for number, name in enumerate(labelers):
    people[number] = Client(url)
    people[number].login(name, PASSWORD)
  while not finished():
    idle = True
    for number, client in people.items():
      task = client.next()['task']
      if task is None:
        continue
      idle = False
      asked.append(task)
      client.answer(task['lease'], {'ranks': _ranks(task, path, number)})
    if idle:
      time.sleep(0.2)


def _ranks(task, path, number):
  record = offered(path)[(task['prompt'].strip(), *sorted(task['outputs']))]
  ended = dict(zip(record['responses'], record['ended'], strict=True))
  ranks, _ = simulation.rank(
    row(record['id']),
    task['outputs'],
    [ended[text] for text in task['outputs']],
    labeler=number,
  )
  return ranks


def row(name):
  """Returns the record of the world that a prompt comes from."""
  return simulation.World(0).prompt(int(name.rpartition('-')[2]))


def said(path):
  return [json.loads(line) for line in path.read_bytes().splitlines()]
