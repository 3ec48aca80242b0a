"""Engines of tiny models, and what one text at a time would give."""

import functools

import jax
import numpy as np

from configs.common import RULES
from instructgpt_jax import sharding
from instructgpt_jax.data import tokenizer as tokenizer_lib
from instructgpt_jax.evals.engine import Engine
from instructgpt_jax.evals.passes import Devices, Passes
from instructgpt_jax.models import decoder
from instructgpt_jax.models.config import ModelConfig
from tests.models import oracle, toys

FILLERS = ('cat', 'sat', 'on', 'a', 'mat', 'and', 'then', 'hen', 'came', 'to')
WORDS = ['the', *FILLERS, '.\n']


@functools.cache
def words():
  texts = [f'{a} {b} {c}' for a in WORDS for b in WORDS for c in WORDS[:4]]
  return tokenizer_lib.train_bpe(texts, 300)


CFG = ModelConfig(
  vocab_size=words().vocab_size, layers=2, width=16, heads=2, max_length=48
)


def text(rng, size):
  return ' '.join(rng.choice(WORDS, size))


def engine(*, shape=(1, 1, 1), tokens=64, answers=None, passes=None, cfg=CFG):
  devices = jax.devices()[: np.prod(shape)]
  mesh = sharding.make_mesh(*shape, devices)
  model = decoder.LanguageModel(cfg)
  if passes is None:
    boxed = toys.shapes(model, boxed=True)
    params = jax.device_put(
      toys.params(model), sharding.shardings(boxed, mesh, RULES)
    )
    passes = Passes(model, params, Devices(mesh, RULES))
  return Engine(passes, words(), tokens=tokens, answers=answers)


def alone(ids, scored, cfg=CFG):
  """Returns (log p of the last `scored` ids, whether each is likeliest)."""
  params = toys.params(decoder.LanguageModel(cfg))
  logits = np.asarray(oracle.logits(cfg, params, np.array(ids[:-1])))
  logp = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
  places = range(len(ids) - 1 - scored, len(ids) - 1)
  picked = [logp[place, ids[place + 1]] for place in places]
  best = [logp[place].argmax() == ids[place + 1] for place in places]
  return sum(picked), all(best)
