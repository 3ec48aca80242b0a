"""WMT15 French to English: BLEU."""

from __future__ import annotations

from collections.abc import Iterator

from instructgpt_jax.evals import sources
from instructgpt_jax.evals.metrics import text
from instructgpt_jax.evals.task import Settings, Value
from instructgpt_jax.evals.tasks import prompts
from instructgpt_jax.evals.tasks.written import Written

KEY = 'wmt15_fr_en'
FIELDS = {'french': str, 'english': str}
INSTRUCTION = 'Translate the following sentences from French into English.'
LONGEST = 128  # tokens; ours


def fr_en(settings: Settings) -> Written:
  """Returns the task. Its values per item are the BLEU of single sentences."""
  items = sources.records(KEY, FIELDS, settings)
  examples = sources.shots(KEY, items, FIELDS, settings)

  def measured(said: list[str]) -> Iterator[Value]:
    bleu = text.bleu(said, [item['english'] for item in items])
    mean, low, high, n = bleu.interval
    yield Value('bleu', mean, n, low, high, bleu.single, bleu.redrawn)

  asked = [
    prompts.asked(
      _question(item),
      [(_question(one), one['english']) for one in shown],
      INSTRUCTION,
    )
    for item, shown in zip(items, examples, strict=True)
  ]
  return Written(KEY, asked, measured, LONGEST)


def _question(item: sources.Record) -> str:
  return f'French: {item["french"].strip()}\nEnglish:'


TASKS = {KEY: fr_en}
