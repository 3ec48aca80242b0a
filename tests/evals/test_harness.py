"""lm-evaluation-harness finds the same of our model as of transformers'."""

import functools
import json
import types

import jax
import numpy as np
import pytest
import torch
import transformers

from benchmarks import evaluate
from configs.common import RULES
from instructgpt_jax import sharding
from instructgpt_jax.data import tokenizer as tokenizer_lib
from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals import harness, registry, tables
from instructgpt_jax.evals.engine import Engine
from instructgpt_jax.evals.model import CannotAnswerError
from instructgpt_jax.evals.passes import Devices, Passes
from instructgpt_jax.evals.task import Settings
from instructgpt_jax.models import decoder, pretrained
from tests.evals import engines

SHARED = """
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
fewshot_split: test
"""
TASKS = {
  'choices_here': """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: gold
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
  'text_here': """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
""",
  'answers_here': """
output_type: generate_until
doc_to_text: "{{question}}\\n"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["."], max_gen_toks: 6}
metric_list: [{metric: exact_match}]
""",
  'filtered_here': """
output_type: generate_until
num_fewshot: 1
doc_to_text: "{{question}}\\n"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["."], max_gen_toks: 6}
metric_list: [{metric: exact_match}]
filter_list:
  - {name: first, filter: [{function: take_first}]}
  - name: word
    filter:
      - {function: regex, regex_pattern: '(\\w+)'}
      - {function: take_first}
""",
}
GROUP = """
group: all_here
task: [choices_here, text_here]
aggregate_metric_list: [{metric: acc, weight_by_size: true}]
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A tiny GPT-2 as transformers writes it."""
  path = tmp_path_factory.mktemp('gpt2')
  words = engines.words()
  words.save(path)
  torch.manual_seed(0)
  config = transformers.GPT2Config(
    vocab_size=words.vocab_size,
    n_embd=16,
    n_layer=1,
    n_head=2,
    n_positions=64,
    initializer_range=0.4,
    bos_token_id=words.eos_id,
    eos_token_id=words.eos_id,
  )
  transformers.GPT2LMHeadModel(config).save_pretrained(path)
  return path


@pytest.fixture(scope='module')
def ours(folder):
  cfg, params = pretrained.load_pretrained(
    folder, dtype='float32', param_dtype='float32'
  )
  mesh = sharding.make_mesh(1, 1, 1, jax.devices()[:1])
  passes = Passes(decoder.LanguageModel(cfg), params, Devices(mesh, RULES))
  return Engine(passes, tokenizer_lib.from_folder(folder), tokens=128)


@pytest.fixture(scope='module')
def theirs(folder):
  from lm_eval.models.huggingface import HFLM  # noqa: PLC0415 - seconds

  return HFLM(
    pretrained=str(folder), device='cpu', dtype='float32', batch_size=4
  )


@pytest.fixture(scope='module')
def tasks(tmp_path_factory):
  """A folder with tasks of each kind, and what the offline hub knows."""
  path = tmp_path_factory.mktemp('tasks')
  rng = np.random.default_rng(0)
  texts = {'question': 6, 'text': 30, 'answer': 2}
  with (path / 'records.jsonl').open('w') as file:
    for i in range(8):
      record = {key: engines.text(rng, size) for key, size in texts.items()}
      record |= {'choices': [engines.text(rng, k) for k in (1, 1, 3)]}
      print(json.dumps(record | {'gold': i % 3}), file=file)
  shared = SHARED.replace('FILE', str(path / 'records.jsonl'))
  for name, text in TASKS.items():
    (path / f'{name}.yaml').write_text(f'task: {name}\n{text}{shared}')
  (path / 'group.yaml').write_text(GROUP)
  return path


class Asked:
  def __init__(self, *args):
    self.args = args


def test_the_same_loglikelihoods(ours, theirs):
  rng = np.random.default_rng(1)
  contexts = [engines.text(rng, size) for size in (1, 3, 9, 90)]
  pairs = [
    (context + blank, ' ' * (not blank) + engines.text(rng, size))
    for context in contexts
    for blank in ('', ' ')
    for size in (1, 4)
  ]
  pairs += [('', engines.text(rng, size)) for size in (1, 5)]
  asked = [Asked(*pair) for pair in pairs]
  found = harness.adapted(ours).loglikelihood(asked)
  wanted = theirs.loglikelihood(asked, disable_tqdm=True)
  np.testing.assert_allclose(
    [logp for logp, _ in found], [logp for logp, _ in wanted], rtol=1e-5
  )
  assert [best for _, best in found] == [best for _, best in wanted]


def test_the_same_texts_are_written(ours, theirs):
  rng = np.random.default_rng(2)
  said = {'until': ['.'], 'max_gen_toks': 6}
  asked = [Asked(engines.text(rng, size), said) for size in (1, 4, 9, 90)]
  found = harness.adapted(ours).generate_until(asked)
  assert found == theirs.generate_until(asked, disable_tqdm=True)
  assert any(found)


def found_by_the_harness(theirs, tasks, names, **how):
  import lm_eval  # noqa: PLC0415 - seconds
  from lm_eval.tasks import TaskManager  # noqa: PLC0415

  return lm_eval.simple_evaluate(
    theirs,
    tasks=names,
    random_seed=0,
    numpy_random_seed=0,
    bootstrap_iters=1000,
    fewshot_random_seed=0,
    task_manager=TaskManager(include_path=[str(tasks)], include_defaults=False),
    **how,
  )['results']


def key(value):
  return value.name if ',' in value.name else f'{value.name},none'


def test_the_same_results_of_each_kind_of_task(ours, theirs, tasks):
  settings = Settings(folders=(str(tasks),), shots=2)
  wanted = found_by_the_harness(theirs, tasks, list(TASKS), num_fewshot=2)
  seen = set()
  for name, task in harness.made(TASKS, settings).items():
    for value in task.run(ours):
      seen.add(value.name)
      metrics = wanted[name]
      mean = metrics[key(value)]
      assert value.value == pytest.approx(mean, rel=1e-5), (name, value)
      assert (value.n, value.shots) == (8, 2)
      error = metrics[key(value).replace(',', '_stderr,')]
      if error == 0:  # all right or all wrong: Wilson's, no certainty
        assert value.low < value.high and 0 <= value.low <= value.high <= 1
      elif isinstance(error, float):
        assert value.high - mean == pytest.approx(1.959964 * error, rel=0.3)
      else:
        assert np.isnan(value.high)
      if value.per_item.size:
        assert value.per_item.mean() == pytest.approx(mean)
        if error:
          assert value.high - mean == pytest.approx(1.959964 * error)
  assert seen == {
    *('acc', 'acc_norm', 'word_perplexity', 'bits_per_byte', 'exact_match'),
    *('exact_match,first', 'exact_match,word'),
  }


def test_a_task_has_its_own_number_of_examples_unless_told(ours, theirs, tasks):
  settings = Settings(folders=(str(tasks),), shots=None, limit=3)
  names = ['filtered_here', 'choices_here']
  wanted = found_by_the_harness(theirs, tasks, names, limit=3)
  made = harness.made(names, settings)
  shots = {}
  for row in registry.rows(made, settings, ours):
    shots[row.task] = row.shots
    assert row.value.n == 3
    mean = wanted[row.task][key(row.value)]
    assert row.value.value == pytest.approx(mean)
  assert shots == {'filtered_here': 1, 'choices_here': 0}


def test_a_group_gives_its_tasks_and_their_mean(ours, theirs, tasks):
  settings = Settings(folders=(str(tasks),))
  wanted = found_by_the_harness(theirs, tasks, ['all_here'])
  task = harness.made(['all_here'], settings)['all_here']
  found = {value.name: value for value in task.run(ours)}
  assert found['acc'].value == wanted['all_here']['acc,none']
  assert found['choices_here/acc'].value == wanted['choices_here']['acc,none']
  assert found['choices_here/acc'].means == ('higher', 'share')
  assert 'text_here/word_perplexity' in found
  [line] = tables.table(
    {'a': [registry.Row('all_here', 0, found['text_here/word_perplexity'])]},
    'a',
  )
  assert line['better'] == 'lower' and line['unit'] == ''


def test_what_is_no_task_is_named_with_what_to_do(tasks, monkeypatch):
  listed = functools.partial(harness._manager, defaults=False)
  # All that the harness brings takes seconds to list.
  monkeypatch.setattr(
    harness, '_manager', lambda folders, defaults: listed(folders)
  )
  settings = Settings(folders=(str(tasks),))
  with pytest.raises(DataError, match="no task 'nothing_like_it'"):
    harness.made(['nothing_like_it'], settings)


def test_a_task_without_data_says_so(tasks):
  lost = tasks / 'lost_here.yaml'
  text = (tasks / 'text_here.yaml').read_text()
  lost.write_text(
    text.replace('text_here', 'lost_here').replace('records', 'no_records')
  )
  harness._manager.cache_clear()
  settings = Settings(folders=(str(tasks),))
  found = harness.made(['lost_here'], settings)['lost_here']
  assert found.startswith('no data: ') and 'no_records' in found


def test_what_we_cannot_sample_by_is_refused(ours):
  said = {'until': ['.'], 'max_gen_toks': 2, 'temperature': 1, 'top_p': 0.5}
  with pytest.raises(
    CannotAnswerError, match='sets top_p in generation_kwargs'
  ):
    harness.adapted(ours).generate_until([Asked('the', said)])


def test_the_benchmark_asks_both_sides_the_same(folder, tmp_path):
  sets = {
    'copa': {'query': 'the cat sat', 'choices': ['on a', 'and'], 'gold': 0},
    'squad_v2': {
      'prompt': 'the cat came\n',
      'answers': ['to'],
      'answerable': True,
    },
  }
  for key, record in sets.items():
    records = [record | {'id': str(i), 'source': 'here'} for i in range(2)]
    text = '\n'.join(map(json.dumps, records))
    (tmp_path / f'{key}.jsonl').write_text(f'{text}\n')
  given = types.SimpleNamespace(
    model=str(folder),
    data=str(tmp_path),
    tasks=['copa', 'squad_v2'],
    limit=0,
    shots=0,
    written=4,
    tokens=64,
    batch=2,
    iters=1,
  )
  found = {}
  for side in ('ours', 'harness'):
    given.side = side
    found[side] = evaluate.measure(given)
    assert found[side]['requests']['generate'] == 2
    assert found[side]['requests']['loglikelihood'] >= 4
    assert found[side]['requests_per_core_s'] > 0
  assert found['ours']['requests'] == found['harness']['requests']
