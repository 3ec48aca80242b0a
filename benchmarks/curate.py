"""How fast a raw log of prompts is curated, and in how much memory.

  python -m benchmarks.curate --records=1000000 --workdir=DIR

Makes a log of prompts of about 300 characters (varied words, users, some
duplicates, personal data and languages), curates it and prepares the tfds
dataset, and prints one JSON line. Peak memory is of the resident set, CPU
seconds are of all processes.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import itertools
import json
import os
import pathlib
import platform
import random
import resource
import time
from collections.abc import Iterator, Sequence
from typing import Any

from absl import app, flags

from configs import common
from instructgpt_jax.data import builders, pool, records
from instructgpt_jax.data import tokenizer as tokenizer_lib
from instructgpt_jax.data.curation import engine, manifest

RECORDS = flags.DEFINE_integer('records', 100_000, 'Prompts of the log.')
WORKERS = flags.DEFINE_integer('workers', 0, 'Processes; 0 is one per core.')
WORKDIR = flags.DEFINE_string('workdir', 'runs/curate', 'Where all is written.')

FOREIGN = (
  'écris une histoire courte sur une rivière et un jardin en hiver pour moi',
  'schreibe bitte einen kurzen Text über den Garten hinter dem alten Haus',
  'escribe un resumen breve sobre la historia de la música en mi ciudad',
)
COMMON = (
  *('the', 'a', 'of', 'to', 'in', 'and', 'for', 'is', 'that', 'with', 'on'),
  *('as', 'write', 'about', 'list', 'explain', 'how', 'please', 'give', 'me'),
  *('five', 'ideas', 'summarize', 'following', 'text', 'this'),
)
SYLLABLES = (
  'ba co de fi gu ha jo ki lo mu na po qui re su ta ve wi xo ya zen sta tri '
  'ple gran con ter ment'
)


def words() -> list[str]:
  """Returns 20,000 words to write prompts with, English ones often."""
  draw = random.Random(0)
  parts = SYLLABLES.split()
  return [
    ''.join(draw.choices(parts, k=draw.choice((1, 2, 2, 3))))
    for _ in range(20_000)
  ]


def log(count: int) -> Iterator[dict[str, Any]]:
  """Yields raw records.

  5% duplicates, 1% personal data, 3% not English, 1% few-shot prompts of three
  pairs; 10% have no id.
  """
  draw, vocabulary = random.Random(1), words()
  earlier = ['write a story about a fox']
  for i in range(count):
    chance = draw.random()
    if chance < 0.05:
      text = draw.choice(earlier)
    else:
      text = _prompt(draw, vocabulary, COMMON, chance)
      if i % 50 == 0:
        earlier.append(text)
    user = int(200_000 * draw.random() ** 3)
    record: dict[str, Any] = {
      'prompt': f'{text}\n',
      'user_id': f'user-{user}',
    }
    if i % 10:
      record['id'] = f'p{i}'  # of the others a hash is taken
    if i % 100 == 0:
      record['shots'] = [_shot(draw, vocabulary) for _ in range(3)]
    yield record


def _shot(draw: random.Random, vocabulary: list[str]) -> dict[str, str]:
  query, response = (' '.join(draw.choices(vocabulary, k=8)) for _ in range(2))
  return {'query': query, 'response': response}


def _prompt(
  draw: random.Random, rare: list[str], often: Sequence[str], chance: float
) -> str:
  found: list[str] = []
  length, wanted = 0, draw.randint(200, 400)
  while length < wanted:
    word = draw.choice(often if draw.random() < 0.6 else rare)
    found.append(word)
    length += len(word) + 1
  text = ' '.join(found)
  if chance < 0.06:
    text += f' , write to {draw.choice(rare)}{draw.randint(0, 99)}@mail.org'
  elif chance < 0.09:
    text = f'{draw.choice(FOREIGN)} {draw.choice(FOREIGN)} {draw.choice(rare)}'
  return text


def write_log(path: pathlib.Path, count: int) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  with gzip.open(path, 'wt', 1, encoding='utf-8') as file:
    for record in log(count):
      file.write(json.dumps(record, ensure_ascii=False) + '\n')


class Clock:
  """Notes when each part of the work ended."""

  def __init__(self) -> None:
    self.began = time.monotonic()
    self.last: dict[str, float] = {}

  def __call__(self, what: str, done: int, of: int) -> None:
    del done, of
    self.last[what] = time.monotonic() - self.began


def peak_mb(who: int) -> float:
  """Returns the most memory of this process, or of one of its children."""
  return resource.getrusage(who).ru_maxrss / 1024


def measure(folder: pathlib.Path) -> dict[str, Any]:
  """Returns what is printed."""
  raw = folder / f'log_{RECORDS.value}.jsonl.gz'
  if not raw.exists():
    write_log(raw, RECORDS.value)
  tokens = folder / 'tokenizer'
  if not tokens.exists():
    texts = (record['prompt'] for record in log(5_000))
    tokenizer_lib.train_bpe(texts, 8192, tokens)
  settings = common.curation().to_dict()
  settings |= {'files': [str(raw)], 'workers': WORKERS.value}
  settings['contamination']['files'] = [str(_evaluation(folder))]
  settings['length'] = {'prompt': 1024, 'response': 1024}
  out, clock = folder / f'curate_{RECORDS.value}_{os.getpid()}', Clock()
  made = engine.curate(
    settings, str(out), tokenizer=str(tokens), seed=0, tell=clock
  )
  curated = time.monotonic() - clock.began
  rows = builders.prepare_prompts(
    _kept(out),
    tokenizer=tokenizer_lib.from_folder(tokens),
    folder=folder / 'data',
    name=out.name,
    length=1024,
    inputs=None,
  )
  seconds = time.monotonic() - clock.began
  passes = {
    'first': clock.last['steps'],
    'second': clock.last['write'] - clock.last['steps'],
    'report': curated - clock.last['write'],
    'dataset': seconds - curated,
  }
  return {
    'benchmark': 'curate',
    'records': RECORDS.value,
    'kept': made.report['records']['kept'],
    'rows': len(rows),
    'workers': pool.workers(WORKERS.value),
    'seconds': {name: round(value, 1) for name, value in passes.items()},
    'seconds_in_all': round(seconds, 1),
    'cpu_seconds': round(sum(os.times()[:4]), 1),  # with the log, if made
    'records_per_second': round(RECORDS.value / seconds, 1),
    'peak_mb_parent': round(peak_mb(resource.RUSAGE_SELF)),
    'peak_mb_worker': round(peak_mb(resource.RUSAGE_CHILDREN)),
    'log_sha256': hashlib.sha256(raw.read_bytes()).hexdigest()[:16],
    'python': platform.python_version(),
    'load': os.getloadavg()[0],
    'versions': {
      name: importlib.metadata.version(name)
      for name in ('numpy', 'tokenizers', 'tensorflow-datasets', 'py3langid')
    },
  }


def _evaluation(folder: pathlib.Path) -> pathlib.Path:
  """Returns a file of 1,000 prompts, as of a set to evaluate on."""
  path = folder / 'evaluation.jsonl'
  path.parent.mkdir(parents=True, exist_ok=True)
  found = itertools.islice(log(RECORDS.value), 0, 10_000, 10)
  lines = [json.dumps({'prompt': record['prompt']}) for record in found]
  path.write_text('\n'.join(lines) + '\n')
  return path


def _kept(out: pathlib.Path) -> Iterator[tuple[dict[str, Any], str]]:
  paths = manifest.outputs(out, 'prompts', 'train')
  return records.read_records(paths, 'prompts')


def main(argv: list[str]) -> None:
  del argv
  print(json.dumps(measure(pathlib.Path(WORKDIR.value))), flush=True)


if __name__ == '__main__':
  app.run(main)
