"""Every table of the paper, for models that are trained already.

  python -m instructgpt_jax.main --config=configs/evaluate.py --workdir=DIR \
    --config.init.run=RUN --config.evaluate.folders="('FOLDER',)"

Judges base, SFT and PPO of RUN on its held-out prompts, and asks all tasks
whose data is in FOLDER; sizes, data and names are RUN's. More models, of any
run or of transformers: --config.evaluate.models="(('gpt2', 'FOLDER'),)".
Without init.run these are all, and no held-out prompts. After a colon:

  :tasks    the tasks alone, no held-out prompts
  :harness  tasks of lm-evaluation-harness (pip install '.[eval]'), named by
            --config.evaluate.tasks="('lambada_openai',)"
"""

from configs import common

ARGUMENTS = ('', 'tasks', 'harness')


def get_config(argument: str = ''):
  if argument not in ARGUMENTS:
    known = ', '.join(f':{name}' for name in ARGUMENTS if name)
    raise ValueError(f'no preset :{argument}; there is {known}, or none at all')
  config = common.base()
  config.name = 'evaluate'
  config.preset = argument
  config.stages = ('evaluate',)
  config.tokenizer.kind = 'folder'
  for model in (config.model, config.reward_model):
    model.preset = 'init'
  config.evaluate.tasks = () if argument == 'harness' else ('all',)
  config.evaluate.harness = argument == 'harness'
  config.evaluate.prompted.candidates = 0 if argument else 8  # ours
  if argument:
    config.evaluate.prompts = 0
  return config
