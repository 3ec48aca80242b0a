"""The base model behind a prefix, and evaluation of a run that is finished."""

import json

import numpy as np
import pytest

from configs import evaluate
from instructgpt_jax.stages import benchmarks, earlier, prompted
from tests.stages import micro


class Echo:
  """Says what it was asked."""

  def loglikelihood(self, requests):
    return requests

  lengths = loglikelihood

  def generate(self, prompts, **how):
    return [f'{prompt}|{how["max_tokens"]}' for prompt in prompts]


def test_a_prefix_stands_before_all_that_is_asked():
  model = prompted.Prompted(Echo(), 'Q A\n')
  assert model.loglikelihood([('b', 'c')]) == [('Q A\nb', 'c')]
  assert model.lengths([('b', 'c')]) == [('Q A\nb', 'c')]
  assert model.generate(['b'], max_tokens=3, stop=()) == ['Q A\nb|3']


@pytest.fixture(scope='module')
def tasks(tmp_path_factory):
  folder = tmp_path_factory.mktemp('tasks')
  item = {'query': 'The cat sat', 'choices': ['on it', 'blue'], 'gold': 0}
  lines = [json.dumps({'id': f'{i}', 'source': 'x'} | item) for i in range(4)]
  (folder / 'copa.jsonl').write_text('\n'.join(lines) + '\n')
  return folder


@pytest.fixture(scope='module')
def evaluated(finished, tasks, tmp_path_factory):
  folder = tmp_path_factory.mktemp('evaluated')
  flags = {
    'init.run': str(finished),
    'evaluate.folders': f"('{tasks}',)",
    'evaluate.tasks': "('copa','rte')",
    'evaluate.models': f"(('early','{finished}/sft'),)",
    'evaluate.prompts': '8',
    'evaluate.batch_size': '8',
    'evaluate.documents': '8',
    'evaluate.prompted.candidates': '2',
    'evaluate.prompted.prompts': '4',
    'evaluate.best_of.samples': '0',
  }
  done = micro.start(
    folder / 'run',
    *(f'--config.{key}={value}' for key, value in flags.items()),
    config=str(micro.ROOT / 'configs/evaluate.py'),
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads((folder / 'run/report.json').read_text())


def test_a_finished_run_is_evaluated_with_more_models(evaluated):
  names = ['base', 'base_prompted', 'sft', 'ppo_ptx', 'early']
  copa, rte = evaluated['tasks']
  assert list(copa['models']) == names
  assert copa['models']['early'] == copa['models']['sft']
  assert set(copa['differences']) == {*names} - {'base'}
  assert rte['missing'].startswith('no data: give rte')
  judges = evaluated['preference']['judges']
  assert set(judges['gold score']) == {*names} - {'sft'}
  assert judges['gold score']['early']['all']['mean'] == 0.5  # the same model
  scores = evaluated['prefix']['reward_scores']
  assert len(scores) == 2 and np.isfinite(scores).all()
  assert {'pretrain', 'sft', 'reward', 'ppo'} <= set(evaluated['compute'])


def test_data_and_name_are_those_of_the_run(finished):
  config = evaluate.get_config()
  config.init.run = str(finished)
  found = earlier.adopt(config)
  assert found.name == 'ppo_ptx' and found.data.prompt_length == 40
  assert found.data.world.prompts == 80
  config.init.run = str(finished / 'no')
  with pytest.raises(ValueError, match=r'no config of a run.*init\.run'):
    earlier.adopt(config)


@pytest.mark.parametrize(
  'key, value, said',
  [
    ('tasks', ('chess',), "no task 'chess'"),
    ('folders', ('/nowhere',), '/nowhere is no folder'),
    ('files', (('copa',),), 'a key and a file'),
    ('shots', (-1,), '0 or more'),
    ('models', (('a', '/nowhere'),), '/nowhere'),
    ('models', ('a',), 'a name and a folder'),
  ],
)
def test_what_cannot_be_evaluated_is_said_at_the_start(key, value, said):
  config = evaluate.get_config()
  with config.ignore_type():
    config.evaluate[key] = value
  assert any(said in line for line in benchmarks.problems(config))
