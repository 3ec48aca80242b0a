"""Model settings: what is refused, and the GPT-3 table."""

import math

import jax
import pytest

from instructgpt_jax.models import config, decoder

SMALL = {'vocab_size': 11, 'layers': 1, 'width': 8, 'heads': 2}


def test_mlp_width_defaults_to_four_times_the_width():
  assert config.ModelConfig(**SMALL).mlp_width == 32
  assert config.ModelConfig(**SMALL, mlp_width=20).mlp_width == 20


@pytest.mark.parametrize(
  ('change', 'words'),
  [
    ({'heads': 3}, 'width = 8 must be a multiple of heads = 3'),
    ({'layers': 0}, 'layers = 0 must be an integer of at least 1'),
    ({'vocab_size': 1.5}, 'vocab_size = 1.5'),
    ({'activation': 'swish'}, 'gelu, gelu_tanh, quick_gelu, relu'),
    ({'dropout': 1.0}, r'dropout = 1.0 must be in \[0, 1\)'),
    ({'dtype': 'fp16'}, 'float32, bfloat16, float16'),
    ({'remat': 'all'}, 'none, full, dots'),
    ({'layer_norm_eps': 0.0}, 'layer_norm_eps = 0.0 must be above 0'),
    ({'embed_init': -1.0}, 'embed_init'),
  ],
)
def test_a_setting_that_does_not_fit_is_named(change, words):
  with pytest.raises(ValueError, match=words):
    config.ModelConfig(**(SMALL | change))


def test_all_wrong_settings_are_named_at_once():
  with pytest.raises(ValueError, match=r'layers = 0.*remat'):
    config.ModelConfig(**(SMALL | {'layers': 0, 'remat': 'x'}))


@pytest.mark.parametrize(
  ('size', 'millions'),
  [
    ('125m', 125), ('350m', 356), ('760m', 760), ('1.3b', 1316),
    ('2.7b', 2652), ('6.7b', 6658), ('13b', 12853), ('175b', 174600),
  ],
)  # fmt: skip
def test_gpt3_sizes_have_the_parameters_their_names_say(size, millions):
  cfg = config.gpt3(size)
  model = decoder.LanguageModel(cfg)
  shapes = jax.eval_shape(
    lambda key: decoder.init_params(model, key), jax.random.key(0)
  )
  count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
  assert count / 1e6 == pytest.approx(millions, rel=2e-3)


def test_gpt3_overrides_and_unknown_size():
  assert config.gpt3('1.3b', dropout=0.2, dtype='float32').dropout == 0.2
  assert config.gpt3('13b').head_size == 128
  with pytest.raises(ValueError, match=r"no GPT-3 size '6b'.*6\.7b"):
    config.gpt3('6b')
