"""Supervised fine-tuning alone.

  python -m instructgpt_jax.main --config=configs/sft.py

No argument: the paper's SFT baseline recipe (16 epochs, residual dropout 0.2,
cosine to 10%, no warmup; C.1) in the embedded world. :ppo_init is the second
initialisation of the paper, from which PPO starts: 2 epochs with 10% of
pre-training text mixed in (C.3). :nlp is the baseline of FLAN and T0: one epoch
over public NLP tasks, which --config.data.files.demonstrations names (with
:nlp,jsonl, say). A size after it (:1.3b, :ppo_init,6b) takes the paper's model
and learning rates and your files; :pretrained or :ppo_init,pretrained starts
from open weights (--config.init.policy=FOLDER).
"""

from configs import presets


def get_config(argument: str = ''):
  parts = [part for part in argument.split(',') if part]
  init, tasks = 'ppo_init' in parts, 'nlp' in parts
  sizes = [part for part in parts if part not in ('ppo_init', 'nlp')]
  size = ','.join(sizes)  # of two, `preset` says that there is no such one
  config = presets.named(size)
  config.name = 'sft'
  config.preset = '_'.join(parts)  # the two recipes get a folder each
  config.stages = tuple(
    stage for stage in config.stages if stage in ('pretrain', 'sft')
  )
  if not init:
    config.sft.epochs = 16  # C.1
    config.sft.dropout = 0.2  # C.1
    config.sft.pretrain_rows = 0
    config.sft.pretrain_coef = 0.0
    if size in presets.PAPER:
      config.sft.optimizer.peak = presets.PAPER[size][3]
  if tasks:
    config.sft.epochs = 1  # no repeats (C.5)
    config.sft.dropout = 0.0  # not in the paper
    config.sft.batch_size = 64  # C.5
    if size in presets.PAPER:
      config.sft.optimizer.peak = 4e-6  # C.5; 6e-6 was tried too
  return config
