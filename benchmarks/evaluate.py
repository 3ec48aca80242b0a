"""How fast tasks are answered: by our engine, and by the harness' own model.

  python -m benchmarks.evaluate --model=FOLDER --data=FOLDER --side=shape
  python -m benchmarks.evaluate --model=FOLDER --data=FOLDER --limit=16
  python -m benchmarks.evaluate --model=FOLDER --data=FOLDER --side=harness

`shape` writes a model of the 124M shape of GPT-2, untrained, where none is at
hand, with a tokenizer of the texts of `data`. Both sides answer the requests
that the tasks whose data is in `data` make of a model folder of transformers,
in float32: `loglikelihood` and `generate`, by the clock and by the seconds that
the cores worked, which hold on a machine that others use too.

`s`, `core_s` and `requests_per_core_s` are of the best of `iters` runs after a
first one. That one, `first_s` and `once_per_core_s`, holds the compilation too:
an evaluation compiles each shape once, whatever the number of its items, so a
short one is nearer to `once_per_core_s`. The harness compiles nothing. The last
line is JSON; compare the two with `benchmarks.compare`.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from absl import app, flags

from benchmarks import measuring
from configs import common
from instructgpt_jax import sharding
from instructgpt_jax.data import tokenizer as tokenizer_lib
from instructgpt_jax.evals import registry
from instructgpt_jax.evals.engine import Engine
from instructgpt_jax.evals.model import Request
from instructgpt_jax.evals.passes import Devices, Passes
from instructgpt_jax.evals.task import Settings
from instructgpt_jax.models import decoder, pretrained

FLAGS = flags.FLAGS


class Recorder:
  """A model that knows nothing, and what it was asked."""

  def __init__(self) -> None:
    self.pairs: list[Request] = []
    self.prompts: list[str] = []

  def loglikelihood(self, requests: Sequence[Request]) -> list[Any]:
    self.pairs += requests
    return [(0.0, False)] * len(requests)

  def lengths(self, requests: Sequence[Request]) -> list[int]:
    return [1] * len(requests)

  def rolling(self, texts: Sequence[str]) -> list[float]:
    self.pairs += [('', text) for text in texts]
    return [0.0] * len(texts)

  def generate(self, prompts: Sequence[str], **how: Any) -> list[str]:
    del how
    self.prompts += prompts
    return [''] * len(prompts)


class Asked(NamedTuple):
  """A request of lm-evaluation-harness."""

  args: tuple[Any, ...]


def asked(given: Any) -> Recorder:
  """Returns what the tasks ask that have data."""
  settings = Settings(
    folders=(given.data,), limit=given.limit, shots=given.shots
  )
  names = given.tasks or list(registry.TASKS)
  made = registry.made(names, settings)
  recorder = Recorder()
  for _ in registry.rows(made, settings, recorder):
    pass
  return recorder


def ours(given: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
  """Returns what answers the two kinds of requests."""
  folder, found = pathlib.Path(given.model), asked(given)
  mesh = sharding.make_mesh()
  cfg, params = pretrained.load_pretrained(
    folder,
    layout=lambda boxed: sharding.shardings(boxed, mesh, common.RULES),
    dtype='float32',
    param_dtype='float32',
  )
  devices = Devices(mesh, common.RULES, common.DECODE_RULES)
  engine = Engine(
    Passes(decoder.LanguageModel(cfg), params, devices),
    tokenizer_lib.from_folder(folder),
    tokens=given.tokens,
  )
  return (
    lambda: engine.loglikelihood(found.pairs),
    lambda: engine.generate(
      found.prompts, max_tokens=given.written, stop=('\n',)
    ),
  )


def harness(given: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
  """Returns the same of the transformers model of lm-evaluation-harness."""
  from lm_eval.models.huggingface import HFLM  # noqa: PLC0415 - of one side

  found = asked(given)
  model = HFLM(
    pretrained=given.model,
    device='cpu' if jax.default_backend() == 'cpu' else 'cuda',
    dtype='float32',
    batch_size=given.batch,
  )
  how = {'until': ['\n'], 'max_gen_toks': given.written}
  return (
    lambda: model.loglikelihood([Asked(pair) for pair in found.pairs]),
    lambda: model.generate_until(
      [Asked((prompt, dict(how))) for prompt in found.prompts]
    ),
  )


def write_shape(given: Any) -> dict[str, Any]:
  """Writes an untrained model of the shape of GPT-2, 124M parameters."""
  import transformers  # noqa: PLC0415 - of one side

  found = asked(given)
  texts = [*found.prompts, *(a + b for a, b in found.pairs)]
  words = tokenizer_lib.train_bpe(texts, 4_096)
  words.save(given.model)
  config = transformers.GPT2Config(
    bos_token_id=words.eos_id, eos_token_id=words.eos_id
  )
  model = transformers.GPT2LMHeadModel(config)
  model.save_pretrained(given.model)
  return {'benchmark': 'evaluate', 'parameters': model.num_parameters()}


def measure(given: Any) -> dict[str, Any]:
  """Returns what is printed."""
  answer, write = {'ours': ours, 'harness': harness}[given.side](given)
  found = {
    kind: _timed(run, given.iters)
    for kind, run in (('loglikelihood', answer), ('generate', write))
  }
  recorder = asked(given)
  number = len(recorder.pairs) + len(recorder.prompts)
  again, first = (
    sum(part[key] for part in found.values())
    for key in ('core_s', 'first_core_s')
  )
  return {
    'benchmark': 'evaluate',
    'side': given.side,
    'requests': {
      'loglikelihood': len(recorder.pairs),
      'generate': len(recorder.prompts),
    },
    'requests_per_core_s': round(number / again, 3),
    'once_per_core_s': round(number / first, 3),
    **found,
    'peak_mb': measuring.peak_memory(),
    'machine': measuring.machine('float32'),
  }


def _timed(run: Callable[[], Any], iters: int) -> dict[str, float]:
  """Returns the least seconds of a run after the first, and of the first."""
  clock, cores = [], []
  for _ in range(iters + 1):
    began = time.perf_counter(), time.process_time()
    run()
    clock.append(time.perf_counter() - began[0])
    cores.append(time.process_time() - began[1])
  return {
    'first_s': round(clock[0], 3),
    'first_core_s': round(cores[0], 3),
    's': round(min(clock[1:]), 3),
    'core_s': round(min(cores[1:]), 3),
  }


def main(argv: list[str]) -> None:
  del argv
  run = write_shape if FLAGS.side == 'shape' else measure
  measuring.tell(run(FLAGS))


if __name__ == '__main__':
  flags.DEFINE_string('model', None, 'A model folder.', required=True)
  flags.DEFINE_string('data', None, 'A folder of sets.', required=True)
  flags.DEFINE_list('tasks', [], 'Names of tasks; all if none is given.')
  flags.DEFINE_enum(
    'side', 'ours', ('ours', 'harness', 'shape'), 'Who answers.'
  )
  flags.DEFINE_integer('limit', 16, 'Items of each task.')
  flags.DEFINE_integer('shots', 0, 'Examples before each question.')
  flags.DEFINE_integer('written', 32, 'Most tokens of an answer.')
  flags.DEFINE_integer('tokens', 2048, 'Ours: tokens at a time.')
  flags.DEFINE_integer('batch', 16, "The harness': requests at a time.")
  flags.DEFINE_integer('iters', 2, 'Runs that are timed, after the first.')
  app.run(main)
