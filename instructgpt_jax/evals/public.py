"""The sets of the tasks at the Hugging Face hub, as records of ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from instructgpt_jax.data import libraries
from instructgpt_jax.data.curation.public.sets import CONVERTED
from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals import public_rows as rows

Row = dict[str, Any]
Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class PublicSet:
  """Where a set is: the hub keeps each as tables, by configuration.

  `records` maps a row to records: none, one, or one a question.
  """

  name: str
  subset: str
  split: str
  records: Callable[[Row], Iterable[Record]]


SETS = {
  'truthfulqa': PublicSet(
    'truthfulqa/truthful_qa', 'generation', 'validation', rows.as_it_is
  ),
  'crows_pairs': PublicSet(
    'nyu-mll/crows_pairs', 'crows_pairs', 'test', rows.as_it_is
  ),
  'winogender': PublicSet(
    'oskarvanderwal/winogender', 'all', 'test', rows.winogender
  ),
  'real_toxicity_prompts': PublicSet(
    'allenai/real-toxicity-prompts', 'default', 'train', rows.real_toxicity
  ),
  'squad_v2': PublicSet(
    'rajpurkar/squad_v2', 'squad_v2', 'validation', rows.squad
  ),
  'drop': PublicSet('EleutherAI/drop', 'default', 'validation', rows.drop),
  'quac': PublicSet('allenai/quac', 'plain_text', 'validation', rows.quac),
  'hellaswag': PublicSet(
    'Rowan/hellaswag', 'default', 'validation', rows.hellaswag
  ),
  'rte': PublicSet('nyu-mll/glue', 'rte', 'validation', rows.rte),
  'sst': PublicSet('nyu-mll/glue', 'sst2', 'validation', rows.sst),
  'wsc': PublicSet('aps/super_glue', 'wsc.fixed', 'validation', rows.wsc),
  'winograd_wsc': PublicSet(
    'ErnestSDavis/winograd_wsc', 'wsc273', 'test', rows.winograd
  ),
  'winogrande': PublicSet(
    'allenai/winogrande', 'winogrande_xl', 'validation', rows.winogrande
  ),
  'copa': PublicSet('aps/super_glue', 'copa', 'validation', rows.copa),
  'piqa': PublicSet('ybisk/piqa', 'plain_text', 'validation', rows.piqa),
  'boolq': PublicSet('google/boolq', 'default', 'validation', rows.boolq),
  'lambada': PublicSet(
    'EleutherAI/lambada_openai', 'default', 'test', rows.lambada
  ),
  'wmt15_fr_en': PublicSet('wmt/wmt15', 'fr-en', 'test', rows.fr_en),
  'cnn_dm': PublicSet('abisee/cnn_dailymail', '3.0.0', 'test', rows.cnn_dm),
  'tldr': PublicSet(
    'CarperAI/openai_summarize_tldr', 'default', 'test', rows.tldr
  ),
  'llmbar': PublicSet('princeton-nlp/LLMBar', 'LLMBar', 'Natural', rows.llmbar),
}


def fetch(key: str) -> Iterator[tuple[Record, str]]:
  """Yields the records of a set and their places, as files of ours have them.

  From the cache of `datasets` (HF_HOME), else from the hub.

  Raises:
    DataError: where it cannot be got, or is not as it was published.
    ImportError: without the library `datasets`.
  """
  known = SETS[key]
  datasets = libraries.load('datasets', f'fetching {known.name}')
  try:
    found = datasets.load_dataset(
      known.name, data_dir=known.subset, revision=CONVERTED, split=known.split
    )
  except Exception as error:  # of the network, the hub, the disk: many kinds
    reason = ' '.join(str(error).split())[:200]
    raise DataError(
      f'{known.name}: cannot be fetched ({type(error).__name__}: {reason}). '
      'Run once where https://huggingface.co can be reached, or give '
      f'{key}.jsonl.gz in one of config.evaluate.folders.'
    ) from error
  for number, row in enumerate(found):
    where = f'{known.name}:{number + 1}'
    try:
      for k, record in enumerate(known.records(row)):
        yield {'id': f'{key}-{number}-{k}', **record}, where
    except (KeyError, TypeError, IndexError, ValueError) as error:
      raise DataError(
        f'{where}: no row as it was published ({type(error).__name__}: '
        f'{error}). Give {key}.jsonl.gz in one of config.evaluate.folders.'
      ) from error
