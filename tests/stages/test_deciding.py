"""What a stage is known by: all it reads that decides what comes out."""

import numpy as np
import pytest

from configs import common
from instructgpt_jax import sharding
from instructgpt_jax.runtime import checkpoint
from instructgpt_jax.runtime.run import Run, SettingsChanged, changed_settings
from instructgpt_jax.stages import checks, deciding
from instructgpt_jax.stages.session import Session
from tests.config_files import leaves
from tests.stages import long_run, reading

# Read by stages whose outcome does not depend on it, and why.
NO_DIFFERENCE = {
  ('stages',): 'the stages before one stand by their hashes',
  ('debug',): 'only looks at what is there',
  ('mesh',): 'where arrays lie on devices',
  ('offload',): 'where arrays lie between programs',
  ('sft', 'chunk'): 'how logits are cut to save memory',
  ('ppo', 'chunk'): 'the same',
  ('ppo', 'limits'): 'ends a stage, and changes nothing before',
  ('evaluate', 'tokens'): 'the same',
  ('evaluate', 'batch_size'): 'what is written and scored knows no neighbours',
  ('curate', 'workers'): 'any number of them writes the same',
  ('collect', 'url'): 'where people are asked',
  ('collect', 'enough'): 'ends a stage, which takes what is there',
  ('collect', 'poll'): 'how often it looks',
  ('evaluate', 'documents'): 'pre-training is watched by it, never chosen',
}
# Reads of a function that several stages share, in a branch for others.
OTHER_BRANCH = {
  # Held-out prompts.
  ('sft', 'evaluate'): {
    *(('collect', key) for key in ('prompts', 'skip', 'labelers')),
  },
  ('evaluate',): {('ppo', 'samples')},  # of a method called like a setting
  # Of files: prompts are shared out where people rank them.
  ('ppo',): {('collect', 'labelers')},
  ('collect',): {
    ('ppo', 'probe_prompts'),  # prompts to train on
    ('reward', 'heldout_labelers'),  # whose rankings are not waited for
  },
  # What it prepares of its records for others, who look whether it is theirs.
  ('curate',): {
    *(('collect', key) for key in ('prompts', 'skip', 'labelers')),
    ('ppo', 'probe_prompts'),
    ('reward',),
    ('name',),  # its report is called so
    ('init',),  # records of an earlier run, where this one curates none
    ('model',),  # methods of a session that it has no use for
    ('reward_model',),
  },
}


FREE = {
  ('limits',),
  ('workers',),
  ('url',),
  ('enough',),
  ('poll',),
}  # of a stage's own settings


def session(folder, config):
  mesh = sharding.make_mesh(8)
  return Session(config, Run(folder), mesh, long_run.Tokens())


def full(stage):
  """Returns a config in which every branch of the stages is taken."""
  config = common.base()
  config.stages = (stage,)
  config.sft.select = 'reward'
  config.lora.rank = 2
  return config


def another(value):
  """Returns a value of the same type, but not the same."""
  if isinstance(value, bool):
    return not value
  if isinstance(value, (str, tuple)):
    return value + type(value)('x')
  return 7 if value is None else value + 1


def changed(config, path):
  config = config.copy_and_resolve_references()
  block = config
  for key in path[:-1]:
    block = block[key]
  with block.ignore_type():
    block[path[-1]] = another(block[path[-1]])
  return config


def ignored(stage, path):
  besides = [keys for stages, keys in OTHER_BRANCH.items() if stage in stages]
  elsewhere = [
    key for key in NO_DIFFERENCE if key[0] != stage or key[1:] in FREE
  ]
  known = [*elsewhere, *set().union(*besides)]
  return any(path[: len(key)] == key for key in known)


@pytest.mark.parametrize('stage', checks.KNOWN)
def test_a_stage_is_known_by_all_that_it_reads(stage, tmp_path):
  config = full(stage)
  known = deciding.stage_settings(session(tmp_path, config), stage)
  read = reading.read_by(stage)
  assert {('seed',), ('data', 'row_length')} & read
  assert {path for path in read if path[0] == stage}
  unnoticed = []
  for path in leaves(config):
    if ignored(stage, path) or not any(path[: len(r)] == r for r in read):
      continue
    other = session(tmp_path, changed(config, path))
    if deciding.stage_settings(other, stage) == known:
      unnoticed.append('.'.join(path))
  assert not unnoticed


@pytest.mark.parametrize(
  'stage, key',
  [
    ('sft', 'lora.rank'),
    ('reward', 'lora.targets'),
    ('ppo', 'lora.alpha'),
    ('ppo', 'collect.prompts'),
    ('ppo', 'init.value'),
    ('sft', 'ppo.probe_prompts'),
    ('evaluate', 'ppo.probe_prompts'),
    ('evaluate', 'ppo.ema_decay'),
    ('evaluate', 'name'),
  ],
)
def test_what_a_stage_reads_elsewhere_is_seen(stage, key, tmp_path):
  path = tuple(key.split('.'))
  read = reading.read_by(stage)
  assert any(path[: len(r)] == r for r in read)
  config = full(stage)
  one, two = (
    deciding.stage_settings(session(tmp_path, c), stage)
    for c in (config, changed(config, path))
  )
  assert one != two


@pytest.mark.parametrize(
  'stage, key',
  [
    ('pretrain', 'lora.rank'),
    ('pretrain', 'ppo.kl_coef'),
    ('sft', 'ppo.kl_coef'),
    ('reward', 'ppo.probe_prompts'),
    ('ppo', 'ppo.limits.patience'),
    ('ppo', 'evaluate.prompts'),
    ('evaluate', 'mesh.data'),
  ],
)
def test_what_changes_nothing_makes_no_other_stage(stage, key, tmp_path):
  config = full(stage)
  one, two = (
    deciding.stage_settings(session(tmp_path, c), stage)
    for c in (config, changed(config, tuple(key.split('.'))))
  )
  assert one == two


def test_moments_of_another_type_are_named(tmp_path):
  config = full('ppo')
  other = config.copy_and_resolve_references()
  other.ppo.value_optimizer.moments_dtype = 'bfloat16'
  other.offload.optimizer = True
  one, two = (
    deciding.stage_settings(session(tmp_path, c), 'ppo')
    for c in (config, other)
  )
  name = 'ppo.value_optimizer.moments_dtype'
  assert changed_settings(one, two) == [f'{name}: "float32" -> "bfloat16"']


def finish(folder, config):
  """Makes every stage of the config done in the folder."""
  made = session(folder, config)
  for stage in config.stages:
    settings = deciding.stage_settings(made, stage)
    made.run.finish(stage, settings, {'values': {}, 'seconds': 1.0})


def test_a_part_of_the_stages_reports_what_the_others_gave(tmp_path):
  config = common.base()
  finish(tmp_path, config)
  config.stages = ('pretrain', 'sft')
  besides = lambda: [  # noqa: E731
    *deciding.done_besides(session(tmp_path, config), checks.KNOWN)
  ]
  assert besides() == ['collect', 'reward', 'ppo', 'evaluate']
  config.ppo.kl_coef = 0.7  # what another config gave is not this one's
  assert besides() == ['collect', 'reward']  # nor what came after it
  (tmp_path / 'collect' / 'DONE').unlink()
  assert besides() == []


@pytest.mark.parametrize('inside', [False, True])
def test_adapters_do_not_go_on_beside_other_weights(tmp_path, inside):
  """The base of SFT is from outside, that of PPO what SFT left in the run."""
  stage, base = ('ppo', 'sft') if inside else ('sft', 'pretrain')
  config = full(stage)
  config.sft.select = 'last'
  if inside:
    config.stages = ('sft', 'ppo')
  outside = tmp_path / 'before'
  config.init.run = str(outside)
  here = session(tmp_path / 'run', config)
  where = (here.run.path if inside else outside) / base
  Run(where.parent).finish(base, {})

  def trained(value):
    checkpoint.save_params(where / 'params', {'w': np.full(3, value)}, {})
    return deciding.stage_settings(here, stage)

  here.run.begin(stage, trained(1.0))
  assert here.run.stage_status(stage, trained(1.0)) == 'partial'
  with pytest.raises(SettingsChanged, match=f'contents.*{base}/params'):
    here.run.stage_status(stage, trained(2.0))
