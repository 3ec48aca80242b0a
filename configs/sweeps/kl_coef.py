"""PPO without pre-training text, with several KL coefficients (Fig. 34).

  python -m instructgpt_jax.main --config=configs/sweeps/kl_coef.py \
    --workdir=DIR

As configs/sweeps/ptx_coef.py: does a larger penalty repair what the text does?
"""

from ml_collections import ConfigDict

from configs import presets


def get_config(preset: str = '') -> ConfigDict:
  run = presets.named(preset)
  run.ppo.update(dict(ptx_coef=0.0, ptx_rows=0))
  return ConfigDict(
    dict(
      name='sweep',
      preset=f'kl_coef_{preset}' if preset else 'kl_coef',
      key='ppo.kl_coef',
      # Ours, around 0.2; the paper goes to 100 times its 0.02.
      values=(0.02, 0.05, 0.2, 0.5, 2.0),
      run=run,
    )
  )
