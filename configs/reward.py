"""The reward model alone.

  python -m instructgpt_jax.main --config=configs/reward.py --workdir=DIR \
    --config.init.run=runs/ppo_ptx --config.stages="('reward',)" \
    --config.data.files.comparisons="('comparisons.jsonl',)"

trains on the comparisons of people (docs/labeling.md), and starts from the SFT
model of a run. As it stands it runs all that comes before, in the embedded
world. :labeler_cv is the cross-validation of the paper (4.1, E.2) in its place:
15 reward models, each trained on four of five groups of labelers, and their
accuracy on labelers seen and held out. Presets are those of configs/ppo_ptx.py,
also after a comma (:1.3b, :labeler_cv,smoke).
"""

from configs import presets


def get_config(argument: str = ''):
  parts = [part for part in argument.split(',') if part]
  cross = 'labeler_cv' in parts
  preset = ','.join(part for part in parts if part != 'labeler_cv')
  config = presets.named(preset)
  config.name = 'reward'
  config.preset = '_'.join(parts)
  needed = ('pretrain', 'sft', 'collect', 'reward')
  config.stages = tuple(s for s in config.stages if s in needed)
  if config.data.source != 'world':
    config.stages = ('reward',)
  if cross:
    config.stages = (*config.stages[:-1], 'labeler_cv')
  return config
