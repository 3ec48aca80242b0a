"""Open weights in, the real command, and out again into transformers."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest
import transformers
from safetensors.numpy import load_file

from instructgpt_jax.data import tokenizer as tokenizer_lib
from instructgpt_jax.models import decoder, heads
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.runtime import checkpoint
from tests.models.pretrained import cards, ours
from tests.stages import micro, micro_pretrained
from tests.stages.converting import converted

torch = pytest.importorskip('torch')

pytestmark = pytest.mark.slow

CONFIG = micro_pretrained.__file__
TARGETS = ('q', 'v', 'gate', 'mlp_out')


def start(workdir, *flags):
  done = micro.start(workdir, *flags, config=CONFIG)
  assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
  return done.stdout


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  return micro_pretrained.write_files(tmp_path_factory.mktemp('files'))


@pytest.fixture(scope='module', params=['llama', 'gpt2', 'llama-lora'])
def run(request, files, tmp_path_factory):
  """(model folder, run folder, what it printed) of SFT, reward, PPO-ptx.

  The Llama runs are ones of conversations, with more ids than tokens, and one
  of them trains adapters; GPT-2's pad is its EOS.
  """
  folder = tmp_path_factory.mktemp(request.param)
  family, *adapted = request.param.split('-')
  policy = getattr(micro_pretrained, family)(folder / 'policy')
  flags = [*files, f'--config.init.policy={policy}']
  if family == 'llama':
    flags.append('--config.data.chat=True')
  if adapted:
    flags += ['--config.lora.rank=4', f'--config.lora.targets={TARGETS}']
  return policy, folder / 'run', start(folder / 'run', *flags)


def stored(folder, network):
  """(model, params, settings) of trained params."""
  params, notes = checkpoint.load_params(folder)
  return network(ModelConfig(**notes['model'])), params


def tokens(run_folder, *texts):
  tokenizer = tokenizer_lib.from_folder(run_folder / 'tokenizer')
  return [[*tokenizer.encode(text), tokenizer.eos_id] for text in texts]


@pytest.mark.parametrize('part', ['params', 'ema'])
def test_the_policy_gives_transformers_the_same_logits(run, part, tmp_path):
  _, folder, _ = run
  source = folder / 'ppo' / part
  target = converted(source, tmp_path / 'out')
  model, params = stored(source, decoder.LanguageModel)
  theirs = transformers.AutoModelForCausalLM.from_pretrained(target)
  known = tokenizer_lib.from_folder(folder / 'tokenizer').vocab_size
  silent = theirs.generation_config.suppress_tokens or []
  assert silent == [*range(known, model.cfg.vocab_size)]
  assert model.cfg.vocab_rows > model.cfg.vocab_size  # and the rest is padding
  # A forward of transformers knows of no ids without a token.
  plain = dataclasses.replace(model.cfg, known_ids=None)

  @functools.partial(jax.jit, static_argnums=0)
  def read(cfg, params, ids):
    hidden, _ = model.apply({'params': params}, ids)
    unembed = decoder.unembedding(params, cfg)
    return decoder.logits(hidden[0], unembed)[:, : cfg.vocab_size]

  for ids in tokens(folder, 'the hen eats', 'say something, 3.'):
    with torch.no_grad():
      wanted = theirs(torch.tensor([ids])).logits[0].numpy()
    assert np.ptp(wanted) > 1
    logits = np.asarray(read(plain, params, np.array([ids])))
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-4)
    masked = np.array(read(model.cfg, params, np.array([ids])))
    assert np.isneginf(masked[:, known:]).all()
    np.testing.assert_array_equal(masked[:, :known], logits[:, :known])


def test_the_policy_writes_and_stops_in_transformers(run, tmp_path):
  policy, folder, _ = run
  target = converted(folder / 'ppo' / 'ema', tmp_path / 'out')
  words = transformers.AutoTokenizer.from_pretrained(target)
  theirs = transformers.AutoModelForCausalLM.from_pretrained(target)
  tokenizer = tokenizer_lib.from_folder(folder / 'tokenizer')
  ends = theirs.generation_config.eos_token_id
  ends = ends if isinstance(ends, list) else [ends]
  assert set(ends) == set(tokenizer.stop_ids)
  assert len(ends) == (2 if policy.parent.name.startswith('llama') else 1)
  model, params = stored(folder / 'ppo' / 'ema', decoder.LanguageModel)
  for text in ('the hen', 'say something, 3.'):
    asked = words(text, return_tensors='pt')
    start = asked['input_ids'].shape[1]

    def write(*processors, asked=asked, start=start):
      found = theirs.generate(
        **asked,
        max_new_tokens=12,
        do_sample=False,
        logits_processor=transformers.LogitsProcessorList(processors),
      )
      return found[0, start:].tolist()

    row = asked['input_ids'].numpy().astype(np.int32)
    free = np.asarray(ours.greedy(model.cfg, params, row, row >= 0, 12))[0]
    free = free.tolist()
    at = min((free.index(end) for end in ends if end in free), default=11)
    assert write() == free[: at + 1]
    for end in ends:  # whichever comes, they stop at it

      def due(ids, scores, end=end, start=start):
        if ids.shape[1] == start + 1:
          scores[:, end] = scores.max() + 1
        return scores

      assert write(due)[-1] == end and len(write(due)) <= 2


@pytest.mark.parametrize('part', ['reward/params', 'ppo/value'])
def test_scores_are_the_same_in_transformers(run, part, tmp_path):
  _, folder, _ = run
  target = converted(folder / part, tmp_path / 'out')
  model, params = stored(folder / part, heads.ScalarModel)
  assert float(params['head']['bias']) != 0
  theirs = cards.run(target)['model']
  for ids in tokens(folder, 'the hen eats corn', 'no'):
    with torch.no_grad():
      wanted = theirs(torch.tensor([ids])).logits[0, 0].item()
    score = jax.jit(model.apply)({'params': params}, np.array([ids]))[0, -1]
    assert float(score) == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_the_card_has_the_numbers_of_the_run(run, tmp_path):
  _, folder, _ = run
  target = converted(folder / 'ppo' / 'ema', tmp_path / 'out')
  card = (target / 'README.md').read_text()
  report = json.loads((folder / 'report.json').read_text())
  kl = report['kl']['ppo_ptx']['mean']
  assert f'| kl.ppo_ptx.mean | {kl:.6g} |' in card
  assert '| ppo.updates | 4 |' in card


def test_the_run_is_described_in_full_by_its_config(run):
  policy, folder, printed = run
  config = json.loads((folder / 'config.json').read_text())
  theirs = json.loads((policy / 'config.json').read_text())
  model = config['model']
  assert model['vocab_size'] == theirs['vocab_size']
  assert model['preset'] == '' and model == config['reward_model']
  if theirs['model_type'] == 'llama':
    assert (model['norm'], model['kv_heads']) == ('rms', 2)
    assert model['rotary_scaling']['kind'] == 'llama3'
    assert model['rotary_scaling']['original_length'] == 32
    assert 'the last 37 ids of the model have no token' in printed
  report = json.loads((folder / 'report.json').read_text())
  assert set(report['reward_score']) == {'base', 'sft', 'ppo_ptx'}


def test_training_changed_what_it_began_from(run, tmp_path):
  policy, folder, _ = run
  before = load_file(policy / 'model.safetensors')
  out = converted(folder / 'sft' / 'params', tmp_path / 'sft')
  after = load_file(out / 'model.safetensors')
  common = before.keys() & after.keys()
  assert len(common) > 10
  assert all(before[name].shape == after[name].shape for name in common)
  moved = {x for x in common if (before[x] != after[x]).any()}
  if folder.parent.name.startswith('llama-lora'):
    where = ('q_proj', 'v_proj', 'gate_proj', 'down_proj')
    assert moved == {x for x in common if x.split('.')[-2] in where}
  else:
    assert moved


def test_prompts_were_read_as_conversations(run):
  policy, folder, _ = run
  lines = (folder / 'ppo' / 'samples.jsonl').read_text().splitlines()
  assert json.loads(lines[0])['prompt']
  data = json.loads((folder / 'data/prompts_train/dataset.json').read_text())
  chat = policy.parent.name.startswith('llama')
  assert bool(data['settings']['chat']) == chat


def test_reward_and_value_may_be_open_weights_too(files, tmp_path):
  policy = micro_pretrained.llama(tmp_path / 'policy')
  reward = micro_pretrained.llama(tmp_path / 'reward', scalar=True)
  value = micro_pretrained.llama(tmp_path / 'value', scalar=True)
  start(
    tmp_path / 'run',
    *files,
    f'--config.init.policy={policy}',
    f'--config.init.reward={reward}',
    f'--config.init.value={value}',
    "--config.stages=('ppo',)",
    '--config.ppo.iterations=1',
    '--config.ppo.value_optimizer.peak=0.0',
  )
  out = converted(tmp_path / 'run/ppo/value', tmp_path / 'out')
  stored = load_file(value / 'model.safetensors')
  kept = load_file(out / 'model.safetensors')
  for name, tensor in stored.items():  # a rate of 0 leaves them as they were
    np.testing.assert_array_equal(kept[name], tensor)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('scalar', [False, True])
def test_there_and_back_is_the_same_to_the_last_bit(tmp_path, dtype, scalar):
  folder = micro_pretrained.llama(tmp_path / 'in', scalar=scalar)
  kind = transformers.AutoModelForCausalLM
  if scalar:
    kind = transformers.AutoModelForSequenceClassification
  model = kind.from_pretrained(folder, dtype=getattr(torch, dtype))
  model.save_pretrained(folder)
  between = converted(folder, tmp_path / 'run', dtype='')
  stage = 'reward' if scalar else 'pretrain'
  out = converted(between / stage, tmp_path / 'out', dtype='')
  before, after = (load_file(x / 'model.safetensors') for x in (folder, out))
  added = {'score.bias'} if scalar else set()
  assert after.keys() == before.keys() | added
  for name, tensor in before.items():
    assert str(tensor.dtype) == str(after[name].dtype) == dtype
    assert tensor.tobytes() == after[name].tobytes()
  theirs, again = (
    json.loads((x / 'config.json').read_text()) for x in (folder, out)
  )
  for key in ('model_type', 'vocab_size', 'rope_parameters', 'dtype'):
    assert theirs[key] == again[key]
  stop = tokenizer_lib.from_folder(out).stop_ids
  assert set(stop) == set(theirs['eos_token_id'])


def test_a_converted_folder_starts_a_run(files, tmp_path):
  folder = micro_pretrained.gpt2(tmp_path / 'in')
  run_folder = converted(folder, tmp_path / 'before')
  start(
    tmp_path / 'run',
    *files,
    f'--config.init.run={run_folder}',
    "--config.stages=('sft',)",
  )
  config = json.loads((tmp_path / 'run/config.json').read_text())
  assert config['model']['width'] == 16
  assert jax.tree.leaves(checkpoint.load_params(tmp_path / 'run/sft/params')[0])


def test_the_command_converts(tmp_path):
  folder = micro_pretrained.gpt2(tmp_path / 'in')
  source = converted(folder, tmp_path / 'run') / 'pretrain'
  flags = [f'--config.source={source}', f'--config.target={tmp_path / "out"}']
  config = str(micro.ROOT / 'configs' / 'convert.py')
  done = micro.start(tmp_path / 'unused', *flags, config=config)
  assert done.returncode == 0, done.stderr[-2000:]
  assert done.stdout.strip() == f'{source} -> {tmp_path / "out"}'
  assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'out')
  assert not (tmp_path / 'unused').exists()
