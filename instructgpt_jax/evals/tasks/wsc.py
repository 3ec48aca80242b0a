"""WSC of SuperGLUE: whom a pronoun means, said and then compared."""

from __future__ import annotations

from collections.abc import Iterator

from instructgpt_jax.evals import sources
from instructgpt_jax.evals.metrics import answers
from instructgpt_jax.evals.task import Settings, Value, share_value
from instructgpt_jax.evals.tasks import prompts
from instructgpt_jax.evals.tasks.written import Written

# Does `pronoun` mean `noun` in the text?
FIELDS = {'text': str, 'pronoun': str, 'noun': str, 'label': bool}
INSTRUCTION = (
  'Final Exam with Answer Key\n\nInstructions: Please carefully read the '
  'following passages. For each passage, you must identify which noun the '
  'pronoun marked in bold refers to.'
)
LONGEST = 20  # tokens; ours


def wsc(settings: Settings) -> Written:
  """Returns the task; examples are those where the noun is the right one.

  What the others' answer would be, the set does not say.
  """
  items = sources.records('wsc', FIELDS, settings)
  examples = sources.shots(
    'wsc', items, FIELDS, settings, usable=lambda item: item['label']
  )

  def measured(said: list[str]) -> Iterator[Value]:
    found = [
      means(text, item['noun']) == item['label']
      for text, item in zip(said, items, strict=True)
    ]
    yield share_value('accuracy', found)

  asked = [
    prompts.asked(
      _question(item),
      [(_question(one), one['noun']) for one in shown],
      INSTRUCTION,
    )
    for item, shown in zip(items, examples, strict=True)
  ]
  return Written('wsc', asked, measured, LONGEST)


def means(said: str, noun: str) -> bool:
  """Returns whether what was said holds the noun, or the noun holds it.

  InstructGPT, App. D; without case, punctuation and articles.
  """
  text, noun = answers.normal(said), answers.normal(noun)
  return bool(text) and (noun in text or text in noun)


def _question(item: sources.Record) -> str:
  return (
    f'Passage: {item["text"]}\n\nQuestion: In the passage above, what does '
    f'the pronoun "{item["pronoun"]}" refer to?\n\nAnswer:'
  )


TASKS = {'wsc': wsc}
