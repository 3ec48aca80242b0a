"""Every config loads, builds and holds the numbers it claims."""

import itertools
import shlex

import jax
import pytest

import configs.public
from configs import common
from instructgpt_jax import main, sharding
from instructgpt_jax.data.curation import public
from instructgpt_jax.models import decoder, heads
from instructgpt_jax.stages import checks, layouts, session
from tests.config_files import ALL, FILES, ROOT, SIZES, leaves, load, nodes

every = pytest.mark.parametrize('file, argument', ALL)


def test_the_files_are_those_that_the_readme_names():
  assert {'ppo', 'ppo_ptx', 'sft'} <= set(FILES)


@every
def test_it_loads_locked(file, argument):
  config = load(file, argument)
  assert config.is_locked and config.sft.optimizer.is_locked
  assert set(config.stages) <= set(checks.KNOWN)
  with pytest.raises(AttributeError, match='Did you mean "epochs"'):
    config.sft.epoch = 3


@every
def test_it_has_the_keys_of_base_and_no_others(file, argument):
  assert leaves(load(file, argument)).keys() == leaves(common.base()).keys()


@every
def test_no_part_stands_in_two_places(file, argument):
  parts = list(nodes(load(file, argument)))
  assert len({id(part) for part in parts}) == len(parts)


def test_the_reward_model_keeps_its_size_when_the_policy_changes():
  config = load('ppo_ptx', '', '--config.model.width=64')
  assert (config.model.width, config.reward_model.width) == (64, 128)


def test_runs_of_different_configs_do_not_share_a_folder():
  folders = [main.default_workdir(load(*which)) for which in ALL]
  assert len(set(folders)) == len(ALL)
  assert main.default_workdir(load('ppo_ptx')) == 'runs/ppo_ptx'


@pytest.mark.parametrize('argument', ['7b', 'smok', '1.3b,6b'])
@pytest.mark.parametrize('file', FILES)
def test_an_unknown_preset_says_which_there_are(file, argument):
  with pytest.raises(Exception, match=r'smoke.*jsonl.*1\.3b.*6b.*175b'):
    load(file, argument)


@pytest.mark.parametrize('argument', ['', 'squad', 'smoke'])
def test_an_unknown_public_set_says_which_there_are(argument):
  with pytest.raises(Exception, match=r'hh_rlhf, .*ultrafeedback.*public\.py:'):
    load('public', argument)


def test_every_public_set_has_a_config_that_names_it_and_fetches_it():
  assert list(public.SETS) == list(configs.public.SETS)
  for name in public.SETS:
    config = load('public', name)
    assert config.stages == ('curate',) and not config.curate.files
    assert config.curate.schema == name
    turns = name in configs.public.TALKS
    assert bool(config.curate.duplicates.prefix) is not turns


def test_a_value_of_another_type_is_refused():
  with pytest.raises(Exception, match=r'ppo\.iterations'):
    load('ppo_ptx', '', '--config.ppo.iterations=many')


# --- models


def count(tree):
  return sum(x.size for x in jax.tree.leaves(tree))


def built(config):
  """Abstract parameters of policy and reward model, nothing allocated."""
  gpt2 = config.tokenizer.kind == 'gpt2'
  vocab = 50257 if gpt2 else config.tokenizer.vocab_size
  made = []
  for settings, network in (
    (config.model, decoder.LanguageModel),
    (config.reward_model, heads.ScalarModel),
  ):
    cfg = session.make_model_config(settings, vocab, config.sft.dropout)
    model = network(cfg)
    made.append(
      jax.eval_shape(
        lambda key, model=model: decoder.init_params(model, key),
        jax.random.key(0),
      )
    )
  return made


@every
def test_its_models_build(file, argument):
  policy, reward = built(load(file, argument))
  assert jax.tree.structure(policy['trunk']) == jax.tree.structure(
    reward['trunk']
  )
  assert set(reward) == {'trunk', 'head'}


@pytest.mark.parametrize(
  'argument, policy, reward',
  [
    ('1.3b', 1.3e9, 6.7e9),  # GPT-3 table 2.1; one reward model for all, C.2
    ('6b', 6.7e9, 6.7e9),
    ('175b', 175e9, 6.7e9),
  ],
)
@pytest.mark.parametrize('file', FILES)
def test_paper_models_have_their_size(file, argument, policy, reward):
  found = built(load(file, argument))
  assert count(found[0]) == pytest.approx(policy, rel=0.02)
  assert count(found[1]) == pytest.approx(reward, rel=0.02)


def test_the_embedded_model_is_small_enough_for_a_cpu():
  policy, _ = built(load('ppo_ptx'))
  assert 5e5 < count(policy) < 5e6


def test_a_llama_can_be_written_down_on_the_command_line():
  words = 'norm=rms kv_heads=2 positions=rotary use_bias=False gated=True '
  words += 'activation=silu head_size=24 rotary_scaling.kind=llama3 tied=False '
  words += 'rotary_scaling.original_length=32 rotary_scaling.factor=8.0 '
  words += 'windows=(0,16) query_scale=0.5 mlp_bias=True vocab_size=512'
  flags = [f'--config.model.{word}' for word in words.split()]
  config = load('ppo_ptx', '', *flags)
  cfg = session.make_model_config(config.model, 500, 0.0)
  assert (cfg.heads, cfg.kv_heads, cfg.head_size) == (4, 2, 24)
  assert (cfg.vocab_size, cfg.windows, cfg.query_scale) == (512, (0, 16), 0.5)
  assert cfg.rotary_scaling.kind == 'llama3'
  assert cfg.rotary_scaling.original_length == 32
  assert cfg.rotary_size is None  # no knob moves another
  assert cfg.has_bias('mlp') and not cfg.has_bias('qkv')
  other = session.make_model_config(config.reward_model, 500, 0.0)
  assert (other.kv_heads, other.vocab_size, other.norm) == (4, 500, 'layer')


# --- the paper's numbers

# key: (value at 1.3B, at 6B, at 175B, section)
PAPER = {
  'model.preset': ('1.3b', '6.7b', '175b', '3.5'),
  'reward_model.preset': ('6.7b', '6.7b', '6.7b', 'C.2'),
  'model.max_length': (2048, 2048, 2048, 'C'),
  'data.prompt_length': (1024, 1024, 1024, 'C: longer ones are filtered'),
  'data.response_length': (1024, 1024, 1024, 'C'),
  'data.over_length': ('drop', 'drop', 'drop', 'C'),
  'sft.epochs': (2, 2, 2, 'C.3'),
  'sft.batch_size': (32, 32, 8, 'C.3'),
  'sft.optimizer.peak': (5e-6, 1.04e-5, 2.45e-6, 'C.3'),
  'sft.optimizer.schedule': ('cosine', 'cosine', 'cosine', 'C.3'),
  'sft.optimizer.final': (0.1, 0.1, 0.1, 'C.3'),
  'sft.optimizer.warmup': (0, 0, 0, 'C.1'),
  'sft.optimizer.b1': (0.9, 0.9, 0.9, 'C'),
  'sft.optimizer.b2': (0.95, 0.95, 0.95, 'C'),
  'reward.epochs': (1, 1, 1, 'C.2'),
  'reward.batch_size': (64, 64, 64, 'C.2'),
  'reward.completions': (9, 9, 9, 'A.3'),
  'reward.optimizer.peak': (9e-6, 9e-6, 9e-6, 'C.2'),
  'reward.optimizer.schedule': ('cosine', 'cosine', 'cosine', 'C.2'),
  'reward.optimizer.final': (0.1, 0.1, 0.1, 'C.2'),
  'ppo.batch_size': (512, 512, 512, 'C.4'),
  'ppo.minibatch_size': (64, 64, 64, 'C.4'),
  'ppo.epochs': (1, 1, 1, 'C.4'),
  'ppo.kl_coef': (0.02, 0.02, 0.02, 'C.4'),
  'ppo.kl_target': (0.0, 0.0, 0.0, 'C.4: a fixed coefficient'),
  'ppo.gamma': (1.0, 1.0, 1.0, 'C.4'),
  'ppo.lam': (0.95, 0.95, 0.95, 'Stiennon et al.'),
  'ppo.clip': (0.2, 0.2, 0.2, 'C.4'),
  'ppo.temperature': (1.0, 1.0, 1.0, 'C.4'),
  'ppo.ema_decay': (0.992, 0.992, 0.992, 'C.4'),
  'ppo.critic_warmup': (0, 0, 0, 'not in the paper'),
  'ppo.optimizer.schedule': ('constant', 'constant', 'constant', 'C.4'),
  'ppo.optimizer.warmup_from': (0.1, 0.1, 0.1, 'C.4'),
  'ppo.optimizer.b1': (0.9, 0.9, 0.9, 'C'),
  'ppo.optimizer.b2': (0.95, 0.95, 0.95, 'C'),
  'ppo.value_optimizer.peak': (9e-6, 9e-6, 5e-6, 'C.4'),
  'ppo.value_optimizer.schedule': ('constant', 'constant', 'constant', 'C.4'),
}
PTX = {
  'ppo.ptx_coef': (27.8, 27.8, 27.8, 'C.4'),
  'ppo.ptx_rows': (8, 8, 8, 'C.4'),
}


def lookup(config, path):
  for key in path.split('.'):
    config = config[key]
  return config


@pytest.mark.parametrize('column, argument', list(enumerate(SIZES)))
def test_paper_presets_hold_the_numbers_of_the_paper(column, argument):
  config = load('ppo_ptx', argument)
  wanted = {path: row[column] for path, row in (PAPER | PTX).items()}
  assert {path: lookup(config, path) for path in wanted} == wanted
  assert config.ppo.iterations * config.ppo.batch_size == 256_000  # C.4
  updates = config.ppo.batch_size // config.ppo.minibatch_size
  assert config.ppo.optimizer.warmup == 10 * updates  # ten iterations, C.4
  mixed = config.sft.pretrain_rows / (
    config.sft.batch_size + config.sft.pretrain_rows
  )
  assert mixed == pytest.approx(0.1, abs=0.02)  # C.3
  assert 2.55e-6 <= config.ppo.optimizer.peak <= 2.55e-5  # the sweep, E.9


@pytest.mark.parametrize('column, argument', list(enumerate(SIZES)))
def test_plain_ppo_is_the_same_without_the_text(column, argument):
  config, other = load('ppo', argument), load('ppo_ptx', argument)
  assert (config.ppo.ptx_coef, config.ppo.ptx_rows) == (0.0, 0)  # gamma 0
  ours, theirs = leaves(config), leaves(other)
  changed = {'.'.join(key) for key in ours if ours[key] != theirs[key]}
  assert changed == {'name', 'ppo.ptx_coef', 'ppo.ptx_rows'}


@pytest.mark.parametrize(
  'argument, rate, batch',
  [('1.3b', 9.65e-6, 32), ('6b', 9.65e-6, 32), ('175b', 5.03e-6, 8)],
)
def test_the_sft_baseline_is_that_of_c_1(argument, rate, batch):
  config = load('sft', argument)
  settings = config.sft
  assert config.stages == ('sft',)
  assert (settings.epochs, settings.dropout) == (16, 0.2)
  assert (settings.optimizer.peak, settings.batch_size) == (rate, batch)
  assert (settings.optimizer.warmup, settings.optimizer.final) == (0, 0.1)
  assert settings.pretrain_rows == 0


def test_the_embedded_sft_configs_are_the_two_recipes():
  baseline, init = load('sft').sft, load('sft', 'ppo_init').sft
  assert (baseline.epochs, baseline.dropout) == (16, 0.2)
  assert init.epochs == 2 and init.pretrain_rows > 0


def test_the_baseline_of_public_tasks_sees_each_example_once():
  settings = load('sft', 'nlp,1.3b').sft
  assert (settings.epochs, settings.batch_size) == (1, 64)
  assert (settings.optimizer.peak, settings.optimizer.final) == (4e-6, 0.1)
  assert (settings.pretrain_rows, settings.dropout) == (0, 0.0)


# --- what can run as it stands


@pytest.mark.parametrize('argument', ['', 'smoke'])
@pytest.mark.parametrize('file', FILES)
def test_the_embedded_world_runs_on_one_device_and_on_eight(file, argument):
  config = load(file, argument)
  if config.data.source != 'world':  # the preset of curate is for files
    config.curate.files = (__file__,)
  for sizes in itertools.product((1, 2), repeat=3):
    data, fsdp, tensor = sizes
    devices = jax.devices()[: data * fsdp * tensor]
    checks.check(config, sharding.make_mesh(data, fsdp, tensor, devices))
  checks.check(config, layouts.mesh(config.mesh))


@pytest.mark.parametrize('file, argument', [w for w in ALL if w[1]])
def test_a_preset_lacks_nothing_but_what_is_the_users(file, argument):
  config = load(file, argument)
  try:
    checks.check(config, layouts.mesh(config.mesh))
  except ValueError as error:
    lines = str(error).splitlines()[1:]
    assert all(
      'give --config.' in line or 'needs --config.' in line for line in lines
    ), str(error)
    assert len(lines) >= (1 if file in ('curate', 'evaluate') else 2)
  else:
    # What is curated may be fetched; all other runs need files.
    assert file == 'public' or argument in (
      'smoke',
      'ppo_init',
      'ppo_init,smoke',
      'nlp',
      'nlp,smoke',
      'labeler_cv',
      'labeler_cv,smoke',
    )


@pytest.mark.parametrize('page', ['README.md', 'docs/pretrained.md'])
def test_commands_for_open_weights_are_read_as_they_stand(page):
  text = (ROOT / page).read_text().replace('\\\n', ' ')
  start = text.index('--config=configs/ppo_ptx.py:pretrained')
  _, *given = shlex.split(text[start : text.index('```', start)])
  assert given and all(word.startswith('--') for word in given)
  given.remove('--workdir=runs/mine')
  if page == 'docs/pretrained.md':
    start = text.index('--config.lora.rank=8 --config.sft')
    given += shlex.split(text[start : text.index('```', start)])
  config = load('ppo_ptx', 'pretrained', *given)
  assert config.init.policy == 'FOLDER'
  assert all(config.data.files[kind] for kind in ('text', 'prompts'))


def test_conversations_are_not_cut_in_the_preset_for_open_weights():
  assert load('ppo_ptx', 'pretrained').data.over_length == 'drop'
