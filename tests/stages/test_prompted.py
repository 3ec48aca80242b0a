"""The base model behind a prefix, and evaluation of a run that is finished."""

import json
import re

import numpy as np
import pytest

from configs import evaluate
from instructgpt_jax.data import tokenizer as tokenizer_lib
from instructgpt_jax.evals import cache
from instructgpt_jax.stages import benchmarks, earlier, preferring, prompted
from tests.evals.fake_server import serving
from tests.stages import here, micro, micro_pretrained

ANSWERS = re.compile(
  r'<answer_A>\n(.*)\n</answer_A>\n<answer_B>\n(.*)\n</answer_B>', re.DOTALL
)


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
def words():
  texts = ['reply : fool lime owl', ' fool owl', 'lime .\n']
  return tokenizer_lib.train_bpe(texts, 300)


def test_an_answer_keeps_the_tokens_it_was_written_in(words):
  [cat] = words.encode_batch([' fool lime'], behind=True)
  assert words.decode(cat).startswith(' ')
  behind = words.encode('\nreply : owl')
  assert prompted.cut(words, [*cat, *behind], '\n') == [*cat, words.eos_id]
  # EOS before the line ends: that is where it ended, and nothing after it.
  assert prompted.cut(words, [*cat, words.eos_id, *behind], '\n') == [
    *(*cat, words.eos_id)
  ]
  assert prompted.cut(words, cat, '\n') == cat  # cut off, not ended


def test_what_shares_a_token_with_the_end_is_encoded_anew(words):
  [fool, owl] = words.encode_batch([' fool', ' owl'], behind=True)
  assert len(owl) == 1  # of which the end takes a part
  found = prompted.cut(words, [*fool, *owl, 5], 'wl')
  assert found[: len(fool)] == fool and found[-1] == words.eos_id
  assert words.decode(found[:-1]) == ' fool o'


@pytest.fixture(scope='module')
def tasks(tmp_path_factory):
  folder = tmp_path_factory.mktemp('tasks')
  item = {'query': 'The cat sat', 'choices': ['on it', 'blue'], 'gold': 0}
  lines = [json.dumps({'id': f'{i}', 'source': 'x'} | item) for i in range(4)]
  (folder / 'copa.jsonl').write_text('\n'.join(lines) + '\n')
  pair = {'prompt': 'reply :', 'responses': [' a', ' b c'], 'ranks': [1, 2]}
  rows(folder / 'llmbar.jsonl', [pair, pair | {'ranks': [2, 1]}])
  return folder


def rows(path, records):
  path.write_text(
    ''.join(
      json.dumps({'id': f'{i}'} | r) + '\n' for i, r in enumerate(records)
    )
  )


@pytest.fixture(scope='module')
def people(tmp_path_factory):
  """What the labelling application exports: some of it names no models."""
  folder = tmp_path_factory.mktemp('people')
  said = {'responses': [' a', ' b'], 'ranks': [1, 2]}
  pair = {'models': ['ppo_ptx', 'sft']}
  chat = {'messages': [{'role': 'user', 'content': 'hello'}]}
  compared = [{'prompt': 'p'} | pair | said, {'prompt': 'q'} | said]
  rows(folder / 'comparisons.jsonl', [*compared, chat | pair | said])
  rating = {'response': ' a', 'model': 'ppo_ptx', 'quality': 5}
  rows(folder / 'ratings.jsonl', [{'prompt': 'p'} | rating, chat | rating])
  return folder


def longer(body):
  """A judge that prefers the longer answer."""
  [(a, b)] = ANSWERS.findall(body['messages'][1]['content'])
  verdict = 'tie' if len(a) == len(b) else 'A' if len(a) > len(b) else 'B'
  return 200, {}, {'choices': [{'message': {'content': f'[[{verdict}]]'}}]}


@pytest.fixture(scope='module')
def evaluated(finished, tasks, people, tmp_path_factory):
  """The report, and the folder, of a finished run and two models more."""
  folder = tmp_path_factory.mktemp('evaluated')
  micro_pretrained.gpt2(folder / 'gpt2')
  more = f"(('early','{finished}/sft'),('gpt2','{folder}/gpt2'))"
  flags = {
    'init.run': str(finished),
    'evaluate.folders': f"('{tasks}',)",
    'evaluate.tasks': "('copa','rte','llmbar')",
    'evaluate.shots': '(0,2)',
    'evaluate.models': more,
    'evaluate.people': str(people),
    'evaluate.prompts': '8',
    'evaluate.batch_size': '8',
    'evaluate.documents': '8',
    'evaluate.prompted.candidates': '2',
    'evaluate.prompted.prompts': '4',
    'evaluate.best_of.samples': '0',
  }
  with serving(longer) as (url, fake):
    done = micro.start(
      folder / 'run',
      *(f'--config.{key}={value}' for key, value in flags.items()),
      f'--config.evaluate.judge.url={url}',
      '--config.evaluate.judge.model=judge-1',
      config=str(micro.ROOT / 'configs/evaluate.py'),
    )
  assert done.returncode == 0, done.stderr[-3000:]
  assert fake.bodies
  return json.loads((folder / 'run/report.json').read_text())


NAMES = ['base', 'base_prompted', 'sft', 'ppo_ptx', 'early', 'gpt2']


def test_a_finished_run_is_evaluated_with_more_models(evaluated):
  lines = {(x['task'], x['shots']): x for x in evaluated['tasks']}
  zero, two = lines['copa', 0], lines['copa', 2]
  rte, llmbar = [lines['rte', 0], lines['rte', 2]], lines['llmbar', 0]
  for copa in (zero, two):
    assert list(copa['models']) == NAMES
    assert copa['models']['early'] == copa['models']['sft']
    assert set(copa['differences']) == {*NAMES} - {'base'}
  assert all(x['missing'].startswith('no data: give rte') for x in rte)
  assert {*rte[0]['lacking']} == {*NAMES}
  assert llmbar['models']['reward model']['mean'] == 0.5  # one of the two
  scores = evaluated['prefix']['reward_scores']
  assert len(scores) == 2 and np.isfinite(scores).all()
  assert {'pretrain', 'sft', 'reward', 'ppo'} <= set(evaluated['compute'])


def test_each_policy_has_its_own_kl(evaluated, finished):
  assert set(evaluated['kl']) == {'ppo_ptx', 'early'}
  assert evaluated['kl']['early']['mean'] == pytest.approx(0, abs=1e-5)
  assert abs(evaluated['kl']['ppo_ptx']['mean']) > 1e-4
  told = json.loads((finished / 'report.json').read_text())
  assert set(told['kl']) == {'ppo_ptx'}


def test_every_judge_is_asked_of_every_model(evaluated):
  found = evaluated['preference']
  judges, others = found['judges'], {*NAMES} - {'sft'}
  for judge in ('gold score', 'gold score, greedy', 'reward model', 'judge-1'):
    assert set(judges[judge]) == others
    assert judges[judge]['early']['all']['mean'] == 0.5  # the same model
  assert found['counts']['early']['cases'] == 8
  assert found['counts']['early']['both_orders_agree'] == 1.0


def test_people_are_heard_where_they_said_something(evaluated):
  found = evaluated['preference']
  assert set(found['judges']['people']) == {'ppo_ptx'}
  said = found['judges']['people']['ppo_ptx']['all']
  assert (said['mean'], said['n']) == (1.0, 2)
  left_out = found['left_out']
  assert left_out['people: base'] == 'nobody compared it with sft'
  assert left_out['people: rankings that name no models'].startswith('1 of ')
  assert evaluated['ratings']['ppo_ptx']['prompts'] == 2


def test_a_model_of_another_tokenizer_is_judged_by_its_texts(evaluated):
  assert evaluated['gold_score']['gpt2']['n'] == 8
  assert evaluated['reward_score']['gpt2']['n'] == 8
  assert 'gpt2' not in evaluated['pretrain_loss']


def test_the_labels_are_those_that_training_held_out(evaluated, finished):
  told = json.loads((finished / 'report.json').read_text())
  labels = told['reward_model']['labels']
  again = evaluated['reward_model']['labels']
  assert again['accuracy'] == pytest.approx(labels['accuracy'])
  assert again['by_labeler'].keys() == labels['by_labeler'].keys()


@pytest.mark.slow
def test_a_killed_evaluation_goes_on(finished, tasks, tmp_path, monkeypatch):
  config = evaluate.get_config()
  config.init.run = str(finished)
  config.evaluate.update(
    dict(prompts=8, batch_size=4, documents=8, tasks=('copa',))
  )
  config.evaluate.folders = (str(tasks),)
  config.evaluate.prompted.candidates = 0
  config.evaluate.best_of.update(dict(samples=2, prompts=4))
  asked: list[str] = []
  add = cache.Answers.add

  def added(self, answers):
    answers = list(answers)
    asked.extend(f'{self.path.name}: {name}' for name, _ in answers)
    add(self, answers)
    if limit and len(asked) >= limit:
      raise KeyboardInterrupt

  monkeypatch.setattr(cache.Answers, 'add', added)
  limit = 0
  whole = here.run(config, tmp_path / 'whole')
  every, asked[:] = list(asked), []
  assert len(every) > 20
  for limit in (3, len(every) - 6, 0):  # among the answers, among the tasks
    if limit:
      with pytest.raises(KeyboardInterrupt):
        here.run(config, tmp_path / 'killed')
    else:
      found = here.run(config, tmp_path / 'killed')
  assert sorted(asked) == sorted(every)  # nothing is asked twice
  clock = ('seconds', 'compute')
  assert {k: v for k, v in found.items() if k not in clock} == {
    k: v for k, v in whole.items() if k not in clock
  }


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
    ('baseline', 'best', "baseline 'best' is no model of this evaluation"),
    ('people', '/nowhere', '/nowhere holds neither'),
  ],
)
def test_what_cannot_be_evaluated_is_said_at_the_start(key, value, said):
  config = evaluate.get_config()
  with config.ignore_type():
    config.evaluate[key] = value
  assert any(said in line for line in benchmarks.problems(config))


def test_a_damaged_export_is_said_at_the_start(tmp_path):
  (tmp_path / 'ratings.jsonl').write_text('{"prompt": "p", "model": "sft"}\n')
  config = evaluate.get_config()
  config.evaluate.people = str(tmp_path)
  [said] = preferring.problems(config)
  assert "ratings.jsonl:1: 'quality'" in said
