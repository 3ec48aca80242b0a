"""No dead knob: every key of the configs is read by the code it belongs to."""

import ast
import dataclasses
import functools
import inspect

import pytest

from configs import common
from instructgpt_jax.evals.judges import toxicity, truth
from instructgpt_jax.models import config as model_config
from instructgpt_jax.stages import checks, sources
from tests.config_files import ROOT, leaves

PACKAGE = ROOT / 'instructgpt_jax'
CURATION = sorted(
  path.relative_to(PACKAGE).as_posix()
  for path in (PACKAGE / 'data' / 'curation').glob('*.py')
)


@functools.cache
def code(module):
  return list(ast.walk(ast.parse((PACKAGE / module).read_text())))


def reads(module):
  """What a module reads: x.name, or a string 'name'."""
  found = set()
  for node in code(module):
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
      found.add(node.attr)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
      found.add(node.value)
  return found


@functools.cache
def block_reads(block):
  """Names the stages read as `x.BLOCK.name`, or by another name for x.BLOCK."""
  found = set()
  for path in (PACKAGE / 'stages').glob('*.py'):
    nodes = code(f'stages/{path.name}')
    known = {block}
    for node in nodes:
      if isinstance(node, ast.Assign):
        known |= aliases(node.targets[0], node.value, block)
    for node in nodes:
      if isinstance(node, ast.Attribute):
        owner = node.value
        name = getattr(owner, 'attr', getattr(owner, 'id', None))
        if name in known:
          found.add(node.attr)
  return found


def aliases(target, value, block):
  """The names that an assignment such as `a, b = x, config.BLOCK` gives it."""
  if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
    pairs = zip(target.elts, value.elts, strict=True)
    return set().union(*(aliases(t, v, block) for t, v in pairs))
  found = isinstance(value, ast.Attribute) and value.attr == block
  return {target.id} if found and isinstance(target, ast.Name) else set()


def names_of(settings):
  return {field.name for field in dataclasses.fields(settings)}


def readers(path):
  """Names that the code which gets this part of the config reads."""
  block, *rest = path[:-1] or ('config',)
  if block == 'curate':  # passed on whole, as plain values
    return reads('stages/curate.py').union(*map(reads, CURATION))
  shared = reads('stages/session.py')
  if rest == ['rotary_scaling']:
    return names_of(model_config.RotaryScaling)
  if rest and rest[-1].endswith('optimizer'):
    return block_reads('settings') & shared
  if rest:  # data.world, data.files
    # These are passed on whole, by name.
    judge = {'truth': truth.made, 'toxicity': toxicity.made}.get(rest[-1])
    whole = inspect.signature(judge).parameters if judge else ()
    return {*whole} | block_reads(rest[-1]) | reads('stages/checks.py')
  if block in checks.KNOWN:  # a stage, and what it shares with the others
    own = reads(f'stages/{block}.py') | reads('stages/training.py')
    return own | block_reads(block)
  fields = names_of(model_config.ModelConfig)
  elsewhere = {
    'model': fields | shared,  # passed on whole, by name
    'reward_model': fields | shared,
    'mesh': reads('stages/layouts.py'),
    'init': set(sources.INIT_KEYS.values()),
    'config': reads('main.py'),
  }
  return elsewhere.get(block, set()) | block_reads(block)


def test_every_setting_of_a_model_is_a_knob():
  given = {*common.gpt()} - {'preset'}
  # These three come from a stage, a block of their own and the tokenizer.
  given |= {'dropout', 'lora', 'known_ids'}
  assert given == names_of(model_config.ModelConfig)
  scaling = {*common.gpt().rotary_scaling}
  assert scaling == names_of(model_config.RotaryScaling)


def test_every_knob_is_read_where_it_belongs():
  dead = [
    '.'.join(path)
    for path in leaves(common.base())
    if path[-1] not in readers(path)
  ]
  assert not dead


@pytest.mark.parametrize(
  'path',
  [
    ('seeds',),
    ('data', 'max_length'),
    ('sft', 'minibatch_size'),
    ('ppo', 'optimizer', 'momentum'),
    ('model', 'rotary'),
    ('model', 'rotary_scaling', 'speed'),
    ('mesh', 'expert'),
    ('data', 'world', 'questions'),
    ('curate', 'duplicates', 'similarity'),
    ('evaluate', 'toxicity', 'threshold'),
  ],
)
def test_a_knob_that_nothing_reads_would_be_noticed(path):
  assert path[-1] not in readers(path)
