"""One page on several runs, with JSON and CSV beside it.

  python -m instructgpt_jax.main --config=configs/compare.py \
    --config.runs="('runs/ppo', 'runs/ppo_ptx')" --config.target=FOLDER
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  return ConfigDict(dict(name='compare', preset='', runs=(), target=''))
