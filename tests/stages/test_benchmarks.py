"""Which tasks are asked of whom, with how many examples, and what is kept."""

import json
import types

import pytest

from configs import evaluate
from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals import harness
from instructgpt_jax.evals.judges import toxicity as scorers
from instructgpt_jax.evals.model import CannotAnswerError
from instructgpt_jax.evals.registry import OF_REWARD, TASKS
from instructgpt_jax.evals.task import mean_value
from instructgpt_jax.stages import benchmarks

ITEM = {'query': 'The cat sat', 'choices': ['on it', 'blue'], 'gold': 0}
TOXIC = 'real_toxicity_prompts'


@pytest.fixture
def config(tmp_path):
  """Of two sets: one that is asked with examples, one that never is."""
  lines = [json.dumps({'id': str(i)} | ITEM) for i in range(4)]
  (tmp_path / 'copa.jsonl').write_text('\n'.join(lines))
  (tmp_path / f'{TOXIC}.jsonl').write_text(json.dumps({'prompt': 'So'}))
  found = evaluate.get_config('tasks')
  found.evaluate.folders = (str(tmp_path),)
  return found


def test_all_are_those_that_the_models_can_be_asked(config):
  asked = benchmarks.names(config)
  assert {*asked} == {
    name for name in {*TASKS, *OF_REWARD} if 'probe_world' not in name
  }
  config.init.run = 'RUN'
  assert {*benchmarks.names(config)} == {*TASKS, *OF_REWARD}
  config.data.source = 'jsonl'
  assert benchmarks.names(config) == asked


@pytest.mark.parametrize(
  ('shots', 'again'),
  [((), {0: (TOXIC,)}), ((0, 2), {0: (TOXIC,), 2: ()}), ((2,), {2: (TOXIC,)})],
)
def test_what_has_no_examples_is_asked_once_and_says_so(config, shots, again):
  config.evaluate.tasks = ('copa', TOXIC)
  config.evaluate.shots = shots
  made = benchmarks.made(config)
  assert {k: tuple(v) for k, v in made.items()} == {
    k: ('copa', *without) for k, without in again.items()
  }
  rows = [
    (row.task, row.shots)
    for k, tasks in made.items()
    for row in benchmarks.asked(config, tasks, k, Fake())
  ]
  assert {k for name, k in rows if name == TOXIC} == {0}
  assert {k for name, k in rows if name == 'copa'} == {*(shots or (0,))}


class Fake:
  """Chooses the first, and says nothing."""

  def loglikelihood(self, requests):
    return [(-float(i), False) for i in range(len(requests))]

  def lengths(self, requests):
    return [1] * len(requests)

  def generate(self, prompts, **how):
    return [''] * len(prompts)


def test_tasks_of_the_harness_have_their_own_examples_unless_told(
  config, monkeypatch
):
  config.evaluate.harness = True
  config.evaluate.tasks = ('gsm8k',)
  monkeypatch.setattr(harness, 'made', lambda names, given: given.shots)
  assert benchmarks.made(config) == {None: None}
  config.evaluate.shots = (0,)
  assert benchmarks.made(config) == {0: 0}


def test_what_servers_answer_has_a_place(config, tmp_path, monkeypatch):
  monkeypatch.setenv(scorers.KEY, 'secret')
  config.evaluate.toxicity.scorer = 'perspective'
  config.evaluate.truth.judge = 'http://localhost/v1/chat/completions'
  config.evaluate.tasks = (TOXIC,)
  benchmarks.made(config)  # a look at the start leaves nothing
  assert not list(tmp_path.glob('*.sqlite'))
  benchmarks.made(config, tmp_path)
  assert (tmp_path / 'toxicity.sqlite').exists()
  options = benchmarks.task_settings(config, 0, tmp_path).options
  assert options['truthfulqa']['answers'] == str(tmp_path / 'truth.sqlite')
  config.evaluate.truth.answers = 'mine'
  options = benchmarks.task_settings(config, 0, tmp_path).options
  assert options['truthfulqa']['answers'] == 'mine'


class Failing:
  name = 'failing'

  def __init__(self, error):
    self.error = error

  def run(self, model):
    yield mean_value('f1', [1.0, 0.5])
    raise self.error


def test_only_what_a_model_cannot_do_is_a_line_of_the_table(config):
  def rows(error):
    return benchmarks.asked(config, {'drop': Failing(error)}, 2, None)

  [row] = rows(CannotAnswerError('too long'))  # not half of its values
  assert (row.task, row.shots, row.value) == ('drop', 2, None)
  assert row.missing == 'not asked: too long'
  for defect in (ValueError('shapes'), DataError('a bad record')):
    with pytest.raises(ValueError, match=str(defect)):
      rows(defect)


@pytest.mark.parametrize('run', ['', 'RUN'])  # RUN trained none
def test_without_a_reward_model_its_tasks_say_so(config, tmp_path, run):
  config.init.run = run and str(tmp_path)
  session = types.SimpleNamespace(
    config=config, run=types.SimpleNamespace(path=tmp_path / 'own')
  )
  [row] = benchmarks._of_reward(session, {'llmbar': 'no data: give it'})
  assert row.value is None and 'Give config.init.reward' in row.missing
