"""Configs that cannot run: all of it is found before anything is made."""

import json
import sys
from unittest import mock

from instructgpt_jax import main, sharding
from tests.bad_input.cases import Case
from tests.bad_input.file_cases import GOOD
from tests.bad_input.value_cases import complain, start
from tests.config_files import ROOT, load
from tests.stages.complaints import complaints
from tests.test_main import forget

ORDER = (
  'stages must be in the order curate, pretrain, sft, collect, reward, '
  'labeler_cv, ppo, evaluate, each once'
)
FEWEST = 'give (fewest, most) with at least 2 completions to compare'
PARAMS = (
  'is neither a model folder (config.json and weights) nor the stage folder of '
  'a run (params/): correct the path'
)


def flag(argument, message):
  """A command line that ends in one line."""

  def run(tmp):
    argv = ['main', f'--config={ROOT}/configs/ppo_ptx.py', argument]
    if argument.startswith('--config='):
      argv = ['main', argument]
    with mock.patch.object(sys, 'argv', argv):
      forget()
      try:
        main.main(main.parse(argv))
      finally:
        forget()

  return Case(run, f'error: {message}')


def files(message, *flags, **lines):
  """Files of records, some of them given here; {tmp} is their folder."""

  def run(tmp):
    given = list(flags)
    for kind, record in GOOD.items():
      path = tmp / f'{kind}.jsonl'
      path.write_text(
        ''.join(json.dumps(x) + '\n' for x in lines.get(kind, [record]))
      )
      given.append(f'--config.data.files.{kind}=("{path}",)')
    given.append('--config.tokenizer.kind=train')
    complain(complaints(load('ppo_ptx', 'jsonl', *given)))

  return Case(run, message)


SETTINGS = {
  'unknown stage': start(
    "stages=('pretrain','sft','rm')",
    "stage 'rm' is unknown: choose from curate, pretrain, sft, collect, "
    'reward, labeler_cv, ppo, evaluate',
  ),
  'stage that is a path': start(
    "stages=('pretrain','../x')",
    "stage '../x' is unknown: choose from curate, pretrain, sft, collect, "
    'reward, labeler_cv, ppo, evaluate',
  ),
  'stages out of order': start("stages=('sft','pretrain')", ORDER),
  'stage twice': start("stages=('pretrain','pretrain')", ORDER),
  'unknown source': start(
    ['data.source=web', "stages=('pretrain',)"],
    "data.source 'web': choose from world, jsonl",
  ),
  'one completion': start(
    'collect.completions=(1,1)', f'collect.completions (1, 1): {FEWEST}'
  ),
  'fewest above most': start(
    'collect.completions=(5,4)', f'collect.completions (5, 4): {FEWEST}'
  ),
  'one bound of completions': start(
    'collect.completions=(5,)', f'collect.completions (5,): {FEWEST}'
  ),
  'completions that are no numbers': start(
    "collect.completions=('a','b')", f"collect.completions ('a', 'b'): {FEWEST}"
  ),
  'more completions than are read': start(
    'collect.completions=(4,9)',
    'reward.completions 5 is less than the 9 that collect writes',
  ),
  'prompt and response too long': start(
    'data.prompt_length=60',
    'data.prompt_length + data.response_length = 76 exceeds '
    'model.max_length = 64',
    'data.prompt_length + data.response_length 76 exceeds '
    'reward_model.max_length 64',
  ),
  'row too long': start(
    'data.row_length=65',
    'data.row_length 65 exceeds model.max_length 64',
    'data.row_length 65 exceeds reward_model.max_length 64',
  ),
  'comparison too long': start(
    'reward.sequence_length=65',
    'reward.sequence_length 65 exceeds reward_model.max_length 64',
  ),
  'minibatch that does not divide': start(
    'ppo.minibatch_size=100',
    'ppo.batch_size 256 is not divisible by ppo.minibatch_size 100',
  ),
  'minibatch above batch': start(
    'ppo.minibatch_size=512',
    'ppo.batch_size 256 is not divisible by ppo.minibatch_size 512',
  ),
  'coefficient without rows': start(
    'ppo.ptx_rows=0',
    'ppo.ptx_coef and ppo.ptx_rows must both be 0 or both be set',
  ),
  'rows without coefficient': start(
    'ppo.ptx_coef=0.0',
    'ppo.ptx_coef and ppo.ptx_rows must both be 0 or both be set',
  ),
  'windows of one slice': start(
    'ppo.windows.response=4',
    'ppo.windows cuts slices of ppo.microbatch_rows episodes, and there is one '
    'slice only: set ppo.microbatch_rows below ppo.minibatch_size 64',
  ),
  'choice by a reward model to come': start(
    'sft.select=reward',
    "sft.select='reward' needs a reward model from before: give "
    '--config.init.reward and leave reward out of stages',
  ),
  'warmup as long as the training': start(
    ['pretrain.optimizer.warmup=50', 'pretrain.tokens=50_000'],
    'pretrain.optimizer.warmup 50 leaves none of 48 updates to decay over',
  ),
  'vocabulary too small': start(
    'tokenizer.vocab_size=100',
    'tokenizer.vocab_size 100 must be at least 258: 256 bytes and 2 special '
    'tokens',
  ),
  'name that is a path': start(
    'name=../../x', "name '../../x' must be the name of a folder, not a path"
  ),
  'unknown preset of a model': start(
    'reward_model.preset=7b', '{library}reward_model: no {library}7b{library}'
  ),
  'heads that do not divide': start(
    'reward_model.heads=3',
    'the reward model differs in size from the policy, so it cannot start '
    'from the SFT model: give --config.init.reward_base=FOLDER',
    'reward_model: width = 128 must be a multiple of heads = 3{library}',
  ),
  'numbers of a model': start(
    [
      f'{name}.{setting}'
      for name in ('model', 'reward_model')
      for setting in (
        'layers=0',
        'dtype=int8',
        'activation=swish',
        'embed_init=-1.0',
      )
    ],
    *[
      f'{name}: layers = 0 must be an integer of at least 1; activation = '
      "'swish' must be one of {library}; dtype = 'int8' must be one of "
      '{library}; embed_init = -1.0 must be 0 or more'
      for name in ('model', 'reward_model')
    ],
  ),
  'reward base without params': start(
    ['reward_model.width=64', 'init.reward_base={tmp}'], f'{{tmp}} {PARAMS}'
  ),
  'earlier model without params': start(
    ["stages=('sft',)", 'init.base={tmp}'], f'{{tmp}} {PARAMS}'
  ),
}
FILES = {
  'file that is a folder': files(
    f'{ROOT}/tests: a folder, not a file. Name a file for prompts.',
    f'--config.data.files.heldout=("{ROOT}/tests",)',
  ),
  'file given twice': files(
    f'{ROOT}/setup.cfg: given twice for prompts. Name it once.',
    f'--config.data.files.heldout=("{ROOT}/setup.cfg","{ROOT}/setup.cfg")',
  ),
  'files that are not there': files(
    'none.jsonl (heldout) does not exist\nnone.gz (heldout) does not exist',
    '--config.data.files.heldout=("none.jsonl","none.gz")',
  ),
  'line that is broken': files(
    "{tmp}/demonstrations.jsonl:2: 'response' is empty. Fill it or remove the "
    'line.',
    demonstrations=[
      GOOD['demonstrations'],
      GOOD['demonstrations'] | {'id': 'b', 'response': ''},
    ],
  ),
  'more responses than are read': files(
    '{tmp}/comparisons.jsonl:1: 3 responses, but at most 2 completions are '
    'read. Raise reward.completions or split the record.',
    '--config.reward.completions=2',
  ),
  'every comparison tied': files(
    '{tmp}/comparisons.jsonl: all ranks of every comparison are tied. Give '
    'comparisons that prefer something.',
    comparisons=[GOOD['comparisons'] | {'ranks': [1, 1, 1]}],
  ),
}
FLAGS = {
  'unknown key': flag(
    '--config.sft.epoch=3',
    '{library}Did you mean "epochs" instead of "epoch"?{library}',
  ),
  'unknown flag': flag(
    '--wokdir=here',
    "Unknown command line flag 'wokdir'. Did you mean: workdir ?",
  ),
  'word for a number': flag(
    '--config.sft.epochs=two',
    'flag --config.sft.epochs=two: invalid literal for int() with base 10: '
    "'two'",
  ),
  'fraction for a whole number': flag(
    '--config.sft.epochs=1.5', '{library}sft.epochs{library}'
  ),
  'value for a block': flag('--config.model=large', '{library}model{library}'),
  'config that is not there': flag(
    '--config=none.py', '{library}No such file{library}none.py{library}'
  ),
  'unknown preset': flag(
    f'--config={ROOT}/configs/ppo_ptx.py:7b',
    '{library}no preset :7b; there is :smoke, :jsonl, {library}',
  ),
}
MESHES = {
  f'mesh {sizes}': Case(
    lambda tmp, sizes=sizes: sharding.make_mesh(*sizes),
    f'mesh data x fsdp x tensor = {" x ".join(map(str, sizes))}{reason}',
  )
  for sizes, reason in (
    (
      (3, 1, 1),
      ' does not use the 8 devices exactly: change a size, or set one to -1',
    ),
    (
      (-1, 3, 1),
      ': 3 does not divide the 8 devices: the sizes but for -1 can make 1, 2, '
      '4, 8',
    ),
    (
      (-1, -1, 1),
      ': sizes are 1 or more, and only one may be -1 (the rest)',
    ),
    ((0, 8, 1), ': sizes are 1 or more, and only one may be -1 (the rest)'),
    ((-2, 4, 1), ': sizes are 1 or more, and only one may be -1 (the rest)'),
  )
}

CASES = SETTINGS | FILES | FLAGS | MESHES
