"""People instead of simulated labelers: a web application for their feedback.

  python -m instructgpt_jax.main --config=configs/label.py --workdir=DIR

serves it until Ctrl-C; the first start prints a link that makes an admin. What
is kept lies in DIR/labeling, or in PostgreSQL (--config.label.url). The same
with a word behind the colon does one thing and ends:

  configs/label.py:import --config.label.files="('comparisons.jsonl',)"
  configs/label.py:export --config.label.archive=FOLDER
  configs/label.py:backup --config.label.archive=FILE
  configs/label.py:restore --config.label.archive=FILE
  configs/label.py:invite    prints another link that makes an admin
"""

from ml_collections import ConfigDict

from configs import common

ACTIONS = ('', 'import', 'export', 'backup', 'restore', 'invite')


def get_config(action: str = '') -> ConfigDict:
  if action not in ACTIONS:
    raise ValueError(
      f'configs/label.py:{action}: choose of {", ".join(ACTIONS[1:])}, or '
      'nothing to serve.'
    )
  return ConfigDict(
    dict(name='label', preset=action, seed=0, label=common.label())
  )
