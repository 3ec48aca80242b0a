"""PPO-ptx with several coefficients of the pre-training gradient (Fig. 33).

  python -m instructgpt_jax.main --config=configs/sweeps/ptx_coef.py \
    --workdir=DIR

Everything up to the reward model is run once, PPO and its evaluation for each
value, then DIR/compare.html. Flags of the runs are --config.run.KEY; presets
after the colon are those of configs/ppo_ptx.py.
"""

from ml_collections import ConfigDict

from configs import presets


def get_config(preset: str = '') -> ConfigDict:
  return ConfigDict(
    dict(
      name='sweep',
      preset=f'ptx_coef_{preset}' if preset else 'ptx_coef',
      key='ppo.ptx_coef',
      # Ours, around 4.0; the paper tried 1 to 100 around its 27.8.
      values=(0.0, 0.5, 2.0, 4.0, 8.0, 32.0),
      run=presets.named(preset),
    )
  )
