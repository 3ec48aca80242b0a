"""What the stages of a run start from: is all of it there?"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

from ml_collections import ConfigDict

from instructgpt_jax.stages import sources

# stage -> stages whose output it reads
NEEDS = {
  'sft': ('pretrain',),
  'collect': ('sft',),
  'reward': ('sft',),
  'labeler_cv': ('sft',),
  'ppo': ('sft', 'reward'),
  'evaluate': ('sft', 'reward'),
}
# stage -> key of init that stands in for all of them
STARTS = {
  'reward': 'reward_base',
  'labeler_cv': 'reward_base',
  'collect': 'collect',
}
# Settings in which a reward model may differ from the policy it starts from.
COMPUTED = {
  *('dtype', 'remat', 'remat_saved', 'attention'),
  *('embed_init', 'position_init'),
}


def problems(config: ConfigDict) -> Iterator[str]:
  """Yields which model is missing, and whether the models fit together."""
  needed = {
    before
    for stage in config.stages
    for before in NEEDS.get(stage, ())
    if stage not in STARTS or not config.init[STARTS[stage]]
    if stage != 'evaluate' or config.evaluate.prompts
  }
  if 'sft' in config.stages and config.sft.select == 'reward':
    needed.add('reward')
  for stage in filter(needed.__contains__, sources.INIT_KEYS):
    folder = sources.source_folder(config, pathlib.Path(), stage)
    if folder is None:
      yield _missing(config, stage)
    elif stage not in config.stages and not sources.holds_model(folder):
      yield _nothing(stage, folder)
  for role in sources.USERS:
    given = sources.starts(config).get(role)
    if given and not sources.holds_model(given):
      yield _nothing(role, given)
  policy, reward = config.model.to_dict(), config.reward_model.to_dict()
  same = all(policy[key] == reward[key] for key in policy.keys() - COMPUTED)
  starts = {'reward', 'labeler_cv'} & {*config.stages}
  if starts and not config.init.reward_base and not same:
    yield (
      'the reward model differs in size from the policy, so it cannot start '
      'from the SFT model: give --config.init.reward_base=FOLDER'
    )


def _missing(config: ConfigDict, stage: str) -> str:
  """Returns what to say where no model stands for the output of a stage."""
  key = sources.INIT_KEYS[stage]
  if config.model.preset == 'init' and key == sources.policy_key(config):
    return (
      'no policy to start from: give --config.init.policy=FOLDER (open weights '
      'as transformers keeps them, RUN/sft or RUN/ppo/ema)'
    )
  return (
    f'no trained {stage} model: give --config.init.{key}=FOLDER (one '
    f'that holds params/), or add {stage!r} to stages'
  )


def _nothing(role: str, folder: pathlib.Path) -> str:
  """Returns what to say of a folder that no model of `role` is in."""
  scalar = role in ('reward', 'value')
  names = ('reward', 'ppo/value') if scalar else ('ppo/ema', 'sft', 'pretrain')
  meant = [folder / name for name in names]
  meant = [path for path in meant if sources.holds_model(path)]
  if meant:
    words = ' or '.join(map(str, meant))
    return f'{folder} is the folder of a whole run: did you mean {words}?'
  return (
    f'{folder} is neither a model folder (config.json and weights) nor the '
    'stage folder of a run (params/): correct the path'
  )
