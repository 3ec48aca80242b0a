"""Streams: seeded, of any size, with splits that share nothing."""

import json
import re
import subprocess
import sys
from collections import Counter

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from instructgpt_jax.simulation import World, perfect_reply
from instructgpt_jax.simulation.tasks import FAMILIES

PERSONAL = re.compile(r'\w+@example\.(com|org)|555-01\d\d')
STREAMS = [
  lambda world, n, start: world.demonstrations(n, start=start),
  lambda world, n, start: world.prompts(n, start=start),
  lambda world, n, start: world.prompts(n, 'heldout', start=start),
  lambda world, n, start: world.text_documents(n, start=start),
  lambda world, n, start: world.text_documents(n, 'heldout', start=start),
]


@pytest.fixture(scope='module')
def prompts():
  return list(World(0).prompts(6000))


@pytest.mark.parametrize('stream', STREAMS)
def test_record_i_depends_on_seed_and_i_only(stream):
  whole = list(stream(World(5), 60, 0))
  assert whole[40:] == list(stream(World(5), 20, 40))
  assert whole != list(stream(World(6), 60, 0))
  assert len({record['id'] for record in whole}) == 60
  assert json.loads(json.dumps(whole)) == whole


def test_streams_are_lazy():
  assert next(World(0).prompts(10**9))['id'] == 'prompt-train-000000'


def test_records_have_the_fields_of_the_schema():
  world = World(0)
  common = {'id', 'source', 'prompt', 'user_id', 'family', 'meta'}
  assert set(world.prompt(3)) == common
  assert set(world.demonstration(3)) == common | {'response'}
  assert set(world.text_document(3)) == {'id', 'source', 'text'}
  prompt = world.demonstration(3)['prompt']
  assert prompt.startswith('ask : ') and prompt.endswith('\nreply :')


def test_an_unknown_split_says_what_to_use():
  for stream in (World(0).prompts, World(0).text_documents):
    with pytest.raises(ValueError, match="split 'valid' is unknown: use one"):
      stream(1, 'valid')


def test_held_out_prompts_share_no_text_and_no_user_with_training(prompts):
  world = World(0)
  held = list(world.prompts(500, 'heldout'))
  training = [*prompts, *world.demonstrations(3000), *World(1).prompts(3000)]
  plain = {_without_personal_data(r['prompt']) for r in training}
  assert not plain & {r['prompt'] for r in held}
  assert not {r['user_id'] for r in training} & {r['user_id'] for r in held}
  assert all(r['meta']['planted'] is None for r in held)


def _without_personal_data(prompt):
  return re.sub(r'(mail|phone) \S+ \. ', '', prompt)


def test_use_cases_and_constraints_have_their_shares(prompts):
  counts = Counter(r['family'] for r in prompts)
  for family, weight in FAMILIES.items():
    assert counts[family] / 6000 == pytest.approx(weight / 100, abs=0.02)
  constrained = sum(r['meta']['constraint'] is not None for r in prompts)
  assert constrained / 6000 == pytest.approx(0.5, abs=0.03)


def test_a_few_users_write_most(prompts):
  counts = Counter(r['user_id'] for r in prompts).most_common()
  assert len(counts) > 300
  assert 0.05 < counts[0][1] / 6000 < 0.2
  assert sum(n for _, n in counts[:40]) > 0.5 * 6000


def test_near_duplicates_repeat_the_question_of_a_recent_prompt(prompts):
  def question(record):
    text = _without_personal_data(record['prompt'])
    text = text.removesuffix('\nreply :')
    return re.sub(r' , (end|start|use|say) .*', '', text)

  planted = [
    i
    for i, record in enumerate(prompts)
    if record['meta']['planted'] == 'near_duplicate'
  ]
  assert 0.03 < len(planted) / 6000 < 0.05
  clean = list(World(0, log_noise=False).prompts(6000))
  for i in planted:
    recent = clean[max(0, i - 200) : i]
    assert any(
      question(old) == question(prompts[i])
      and old['user_id'] == prompts[i]['user_id']
      and old['prompt'] != prompts[i]['prompt']
      for old in recent
    )


def test_personal_data_is_rare_invented_and_in_prompts_only(prompts):
  found = [r for r in prompts if PERSONAL.search(r['prompt'])]
  assert 0.004 < len(found) / 6000 < 0.016
  for record in prompts:
    planted = record['meta']['planted'] == 'personal_data'
    assert bool(PERSONAL.search(record['prompt'])) == planted
  for record in World(0).demonstrations(2000):
    assert not PERSONAL.search(record['response'])


def test_log_noise_can_be_switched_off_and_touches_nothing_else(prompts):
  clean = list(World(0, log_noise=False).prompts(6000))
  assert all(r['meta']['planted'] is None for r in clean)
  assert not any(PERSONAL.search(r['prompt']) for r in clean)
  for noisy, plain in zip(prompts, clean, strict=True):
    if noisy['meta']['planted'] is None:
      assert noisy == plain


def test_lengths_in_tokens_of_a_trained_bpe(prompts):
  world = World(0)
  demos = list(world.demonstrations(3000))
  texts = [r['text'] for r in world.text_documents(2000)]
  texts += [r['prompt'] + r['response'] for r in demos]
  tokenizer = Tokenizer(models.BPE())
  tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  alphabet = pre_tokenizers.ByteLevel.alphabet()
  trainer = trainers.BpeTrainer(
    vocab_size=768, initial_alphabet=alphabet, show_progress=False
  )
  tokenizer.train_from_iterator(texts, trainer)

  def lengths(strings):
    return [len(e.ids) for e in tokenizer.encode_batch(list(strings))]

  assert max(lengths(r['prompt'] for r in [*prompts, *demos])) <= 24
  replies = [r['response'] for r in demos]
  assert max(lengths(replies)) + 1 <= 16
  assert sum(lengths(replies)) <= 1.01 * sum(len(r.split()) for r in replies)
  perfect = lengths(perfect_reply(r['meta']) for r in demos)
  assert max(perfect) + 1 <= 16


def test_the_simulation_never_imports_jax():
  code = (
    'import sys, instructgpt_jax.simulation; '
    'print([m for m in ("jax", "flax", "tensorflow") if m in sys.modules])'
  )
  run = [sys.executable, '-c', code]
  out = subprocess.run(run, capture_output=True, text=True, check=True)
  assert out.stdout.strip() == '[]'
