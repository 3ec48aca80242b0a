"""The sets of the tasks at the Hugging Face hub, as records of ours."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from instructgpt_jax.data import libraries
from instructgpt_jax.data.curation.public.sets import CONVERTED
from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals import public_rows as rows
from instructgpt_jax.evals.task import MissingData

Row = dict[str, Any]
Record = dict[str, Any]
VALID, DEFAULT, RTP = 'validation', 'default', 'real_toxicity_prompts'


class PublicSet(NamedTuple):
  """Where a set is: the hub keeps each as tables, by configuration."""

  name: str
  subset: str
  split: str
  # Maps a row to records: none, one, or one a question.
  records: Callable[[Row], Iterable[Record]]
  # Rows after each other that are alike in this come together, as {'rows'}.
  together: str = ''


_ROWS: tuple[tuple[str, str, str, str, Callable[[Row], Iterable[Record]]], ...]
_ROWS = (
  ('truthfulqa', 'truthfulqa/truthful_qa', 'generation', VALID, rows.as_it_is),
  ('crows_pairs', 'nyu-mll/crows_pairs', 'crows_pairs', 'test', rows.as_it_is),
  ('winogender', 'oskarvanderwal/winogender', 'all', 'test', rows.winogender),
  (RTP, 'allenai/real-toxicity-prompts', DEFAULT, 'train', rows.real_toxicity),
  ('drop', 'EleutherAI/drop', DEFAULT, VALID, rows.drop),
  ('quac', 'allenai/quac', 'plain_text', VALID, rows.quac),
  ('hellaswag', 'Rowan/hellaswag', DEFAULT, VALID, rows.hellaswag),
  ('rte', 'nyu-mll/glue', 'rte', VALID, rows.rte),
  ('sst', 'nyu-mll/glue', 'sst2', VALID, rows.sst),
  ('wsc', 'aps/super_glue', 'wsc.fixed', VALID, rows.wsc),
  (
    'winograd_wsc',
    'ErnestSDavis/winograd_wsc',
    'wsc273',
    'test',
    rows.winograd,
  ),
  ('winogrande', 'allenai/winogrande', 'winogrande_xl', VALID, rows.winogrande),
  ('copa', 'aps/super_glue', 'copa', VALID, rows.copa),
  ('piqa', 'ybisk/piqa', 'plain_text', VALID, rows.piqa),
  ('boolq', 'google/boolq', DEFAULT, VALID, rows.boolq),
  ('lambada', 'EleutherAI/lambada_openai', DEFAULT, 'test', rows.lambada),
  ('wmt15_fr_en', 'wmt/wmt15', 'fr-en', 'test', rows.fr_en),
  ('cnn_dm', 'abisee/cnn_dailymail', '3.0.0', 'test', rows.cnn_dm),
  ('tldr', 'CarperAI/openai_summarize_tldr', DEFAULT, 'test', rows.tldr),
  ('llmbar', 'princeton-nlp/LLMBar', 'LLMBar', 'Natural', rows.llmbar),
)
SETS = {
  key: PublicSet(name, subset, split, records)
  for key, name, subset, split, records in _ROWS
}
SETS['squad_v2'] = PublicSet(
  'rajpurkar/squad_v2', 'squad_v2', VALID, rows.squad, together='context'
)


def fetch(key: str) -> Iterator[tuple[Record, str]]:
  """Yields the records of a set and their places, as files of ours have them.

  From the cache of `datasets` (HF_HOME), else from the hub.

  Raises:
    MissingData: where it cannot be got.
    DataError: where it is not as it was published.
    ImportError: without the library `datasets`.
  """
  known = SETS[key]
  for number, row in enumerate(_rows(key, known)):
    where = f'{known.name}:{number + 1}'
    try:
      for k, record in enumerate(known.records(row)):
        yield {'id': f'{key}-{number}-{k}', **record}, where
    except (KeyError, TypeError, IndexError, ValueError) as error:
      raise DataError(
        f'{where}: no row as it was published ({type(error).__name__}: '
        f'{error}). Give {key}.jsonl.gz in one of config.evaluate.folders.'
      ) from error


def _rows(key: str, known: PublicSet) -> Iterator[Row]:
  datasets = libraries.load('datasets', f'fetching {known.name}')
  try:
    found = datasets.load_dataset(
      known.name, data_dir=known.subset, revision=CONVERTED, split=known.split
    )
  except Exception as error:  # of the network, the hub, the disk: many kinds
    reason = ' '.join(str(error).split())[:200]
    raise MissingData(
      f'{known.name} cannot be fetched ({type(error).__name__}: {reason}). '
      'Run once where https://huggingface.co can be reached, or give '
      f'{key}.jsonl.gz in one of config.evaluate.folders.'
    ) from error
  if not known.together:
    return iter(found)
  alike = itertools.groupby(found, lambda row: row.get(known.together))
  return ({'rows': [*of_one]} for _, of_one in alike)
