"""Real files from first to last: GPT-2's BPE, varying K, ties, long ones."""

import gzip
import itertools
import json

import numpy as np
import pytest

from configs import presets
from instructgpt_jax.data import builders, records, tokenizer
from tests.stages import here

pytestmark = [pytest.mark.slow, pytest.mark.data]

SOURCES = {  # kind: files, and how many records of each
  'text': (('text/books', 'text/wikitext2'), 6),
  'demonstrations': (
    [f'demonstrations/{x}' for x in ('oasst', 'dolly', 'seed_tasks', 't0')],
    15,
  ),
  'comparisons': (
    [
      f'comparisons/{x}'
      for x in ('hh_harmless', 'oasst', 'fg_longform_qa', 'gsm8k_solutions')
    ],
    20,
  ),
  'prompts': (('prompts/ppo_prompts',), 60),
}


def cut(data, folder):
  """Writes the first records of each file; returns {kind: paths}."""
  found = {}
  for kind, (names, count) in SOURCES.items():
    found[kind] = ()
    for name in names:
      with gzip.open(data / f'{name}.jsonl.gz', 'rt') as file:
        lines = [json.loads(line) for line in itertools.islice(file, count)]
      # every second file is kept zipped
      end = '.jsonl.gz' if len(found[kind]) % 2 else '.jsonl'
      path = folder / (name.replace('/', '_') + end)
      records.write_jsonl(path, lines)
      found[kind] += (str(path),)
  return found


def tiny(data, files):
  config = presets.named('jsonl')
  for model in (config.model, config.reward_model):
    model.update(dict(layers=1, width=16, heads=2, mlp_width=32, max_length=96))
  config.tokenizer.encoder = str(data / 'bpe' / 'encoder.json')
  config.tokenizer.merges = str(data / 'bpe' / 'vocab.bpe')
  config.data.files.update(files)
  config.data.update(
    dict(
      row_length=64,
      prompt_length=48,
      response_length=24,
      validation_share=0.2,
    )
  )
  config.pretrain.update(dict(tokens=3 * 8 * 64, batch_size=8))
  config.pretrain.optimizer.warmup = 1
  config.sft.update(dict(epochs=1, batch_size=8, evaluate_every=0))
  config.reward.update(
    dict(batch_size=4, sequence_length=96, validation_share=0.2)
  )
  config.ppo.update(
    dict(
      iterations=2,
      batch_size=8,
      minibatch_size=4,
      probe_prompts=4,
      save_every=0,
      evaluate_every=0,
      critic_warmup=1,
    )
  )
  config.evaluate.update(
    dict(prompts=8, batch_size=8, documents=16, pairs_shown=4)
  )
  return config


@pytest.fixture(scope='module')
def real(real_data, tmp_path_factory):
  """Returns (config, folder, report) of a run on real input."""
  folder = tmp_path_factory.mktemp('jsonl')
  config = tiny(real_data, cut(real_data, folder))
  return config, folder / 'run', here.run(config, folder / 'run')


def prepared(folder, name):
  return builders.Dataset(folder / 'data' / name)


def test_every_stage_runs_to_the_report(real):
  config, folder, report = real
  assert config.stages == ('pretrain', 'sft', 'reward', 'ppo', 'evaluate')
  for stage in config.stages:
    assert (folder / stage / 'DONE').exists()
  models = {'base', 'sft', 'ppo_ptx'}
  for key in ('reward_score', 'pretrain_loss', 'response_length'):
    assert set(report[key]) == models
  assert 0 < report['pretrain_loss']['base']['mean'] < 1.1 * np.log(50257)
  assert report['reward_accuracy']['pairs'] > 10
  assert (
    json.loads((folder / 'report.json').read_text()).keys() == report.keys()
  )


def test_without_a_gold_scorer_nothing_claims_one(real):
  _, folder, report = real
  assert not [key for key in report if 'gold' in key]
  assert set(report['preference']['judges']) == {'reward model'}
  lines = (folder / 'ppo' / 'metrics.jsonl').read_text().splitlines()
  logged = set().union(*(json.loads(line)['values'] for line in lines))
  assert {'reward_score', 'objective/kl', 'ppo/loss/pretrain'} <= logged
  assert 'gold_score' not in logged


def test_the_tokenizer_of_the_run_is_gpt2s(real, real_data):
  _, folder, _ = real
  saved = tokenizer.from_folder(folder / 'tokenizer')
  bpe = real_data / 'bpe'
  made = tokenizer.gpt2(bpe / 'encoder.json', bpe / 'vocab.bpe')
  assert saved.fingerprint() == made.fingerprint()
  assert (saved.vocab_size, saved.eos_id) == (50257, 50256)
  text = ' naïve\n\n  spaces <|endoftext|> 中'
  assert saved.encode(text) == made.encode(text)


def test_demonstrations_are_learned_from_the_response_to_its_end(real):
  config, folder, _ = real
  saved = tokenizer.from_folder(folder / 'tokenizer')
  wanted = {
    record['response']
    for record, _ in records.read_records(
      config.data.files.demonstrations, 'demonstrations'
    )
  }
  seen = 0
  for row in prepared(folder, 'demonstrations_train'):
    for segment in range(1, row['segments'].max() + 1):
      learned = (row['segments'] == segment) & row['loss_mask']
      ids = row['tokens'][learned]
      assert ids[-1] == saved.eos_id
      assert saved.decode(ids[:-1]) in wanted
      seen += 1
  assert seen > 15


def test_k_varies_and_ties_and_long_ones_are_counted(real):
  config, folder, _ = real
  parts = [
    prepared(folder, f'comparisons_{x}') for x in ('train', 'validation')
  ]
  groups = [
    record
    for record, _ in records.read_records(
      config.data.files.comparisons, 'comparisons'
    )
  ]
  stats = {
    key: sum(part.stats[key] for part in parts)
    for key in ('read', 'kept', 'all_tied', 'dropped_long', 'truncated')
  }
  assert stats['read'] == len(groups) == 80
  tied = sum(records.all_tied(group['ranks']) for group in groups)
  assert stats['all_tied'] == tied > 0
  assert stats['kept'] + stats['dropped_long'] + tied == 80
  assert stats['truncated'] > 0  # cut on the left, as the preset says
  sizes = {int(row['valid'].sum()) for part in parts for row in part}
  assert {2, 4} < sizes


def test_texts_before_and_after_stand_side_by_side(real):
  _, folder, _ = real
  lines = (folder / 'evaluate' / 'samples.jsonl').read_text().splitlines()
  shown = [json.loads(line) for line in lines]
  assert len(shown) == 4
  for sample in shown:
    assert set(sample['responses']) == {'base', 'sft', 'ppo_ptx'}
    assert set(sample['scores']['sft']) == {'reward'}
