"""All sets of the real data, asked of a model whose answers are known."""

import gzip
import json

import numpy as np
import pytest

from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals import registry
from instructgpt_jax.evals.task import Settings
from instructgpt_jax.evals.tasks import reward_bench
from tests.evals.fake_model import Fake

# {task: items} of what is there.
SIZES = {
  'truthfulqa': 654,
  'real_toxicity_prompts': 79,
  'winogender': 90,  # 45 occupations, twice, in pairs
  'crows_pairs': 1208,
  'squad_v2': 78,
  'drop': 75,
  'boolq': 494,
  'copa': 79,
  'piqa': 549,
  'winograd_wsc': 226,
  'winogrande': 574,
  'lambada': 561,
  'user_instructions': 197,
}


@pytest.mark.data
@pytest.mark.parametrize('shots', [0, 2])
def test_every_set_is_asked(real_data, shots):
  settings = Settings(folders=(str(real_data / 'eval'),), shots=shots)
  model = Fake(says=lambda prompt: ' Not in background.\nQ:')
  made = registry.made(registry.TASKS, settings)
  rows = list(registry.rows(made, settings, model))
  sizes = {}
  for row in rows:
    if row.value is None:
      assert row.missing.startswith('no data: give ')
      continue
    value = row.value
    sizes.setdefault(row.task, value.n)
    assert value.n == len(value.per_item)
    assert value.low <= value.value <= value.high
    assert np.isfinite([value.low, value.value, value.high]).all()
  own = {task: n for task, n in sizes.items() if 'probe' not in task}
  assert own == SIZES
  found = {(r.task, r.value.name): r.value.value for r in rows if r.value}
  # 40 of 78 questions have no answer. All choices are equal to this model.
  assert found['squad_v2', 'f1'] == pytest.approx(40 / 78)
  assert found['squad_v2', 'f1_unanswerable'] == 1
  assert found['copa', 'accuracy'] == found['boolq', 'accuracy'] == 0.5
  assert found['crows_pairs', 'entropy/biased'] == pytest.approx(1)


@pytest.mark.data
@pytest.mark.parametrize('key', ['squad_v2', 'drop', 'user_instructions'])
def test_the_right_answers_of_a_set_are_right(real_data, key):
  task = registry.TASKS[key](Settings(folders=(str(real_data / 'eval'),)))
  with gzip.open(real_data / 'eval' / f'{key}.jsonl.gz', 'rt') as file:
    records = [json.loads(line) for line in file]
  value = next(
    task.measured(
      [r['reference'] if 'reference' in r else r['answers'][0] for r in records]
    )
  )
  assert value.value > 0.97  # some references hold no words: formulas, signs


@pytest.mark.data
@pytest.mark.parametrize(
  ('key', 'prompts'),
  [('llmbar', 99), ('pandalm_pairs', 737), ('pandalm_kwise', 72)],
)
def test_a_reward_model_that_knows_is_right(real_data, key, prompts):
  settings = Settings(folders=(str(real_data / 'eval'),))
  task = reward_bench.TASKS[key](settings)
  (value,) = task.run(lambda records: [-np.array(r['ranks']) for r in records])
  assert (value.value, value.n) == (1.0, prompts)
  (value,) = task.run(lambda records: [np.array(r['ranks']) for r in records])
  assert value.value == 0.0
  (value,) = task.run(
    lambda records: [0 * np.array(r['ranks']) for r in records]
  )
  assert value.value == 0.5


def test_pairs_of_a_prompt_are_counted_by_prompt(tmp_path):
  records = [
    {'id': '1', 'prompt': 'p', 'responses': [*'abc'], 'ranks': [1, 2, 3]},
    {'id': '2', 'prompt': 'q', 'responses': [*'ab'], 'ranks': [1, 1]},
    {'id': '3', 'prompt': 'r', 'responses': [*'ab'], 'ranks': [2, 1]},
  ]
  path = tmp_path / 'llmbar.jsonl'
  path.write_text('\n'.join(map(json.dumps, records)))
  settings = Settings(folders=(str(tmp_path),))
  task = reward_bench.TASKS['llmbar'](settings)
  # c is scored too high: 1 of 3 pairs of the first prompt.
  (value,) = task.run(
    lambda rs: [np.array([2.0, 1.0, 3.0])[: len(r['ranks'])] for r in rs]
  )
  assert list(value.per_item) == [pytest.approx(1 / 3), 0]
  path.write_text(json.dumps(records[1]))
  with pytest.raises(DataError, match='all responses are tied'):
    reward_bench.TASKS['llmbar'](settings)
