"""A random GPT-2 of transformers gives the same logits, cached or not."""

import jax
import numpy as np
import pytest

from instructgpt_jax.models import cache as kv_cache
from instructgpt_jax.models import decoder
from instructgpt_jax.models.config import ModelConfig

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')

WIDTH, HEADS, LAYERS, VOCAB, LENGTH = 24, 3, 2, 41, 20


def _gpt2(activation):
  torch.manual_seed(0)
  model = transformers.GPT2LMHeadModel(
    transformers.GPT2Config(
      vocab_size=VOCAB,
      n_positions=LENGTH,
      n_embd=WIDTH,
      n_layer=LAYERS,
      n_head=HEADS,
      activation_function=activation,
      attn_implementation='eager',
      bos_token_id=0,
      eos_token_id=0,
    )
  ).eval()
  with torch.no_grad():  # zero biases and unit scales would hide mistakes
    for weight in model.parameters():
      weight.add_(0.2 * torch.randn_like(weight))
  return model


def _linear(weights, name, shape, part=slice(None)):
  bias_shape = (
    shape[-2:] if len(shape) == 3 and part != slice(None) else (shape[-1:])
  )
  return {
    'kernel': weights[f'{name}.weight'][:, part].reshape(shape),
    'bias': weights[f'{name}.bias'][part].reshape(bias_shape),
  }


def _norm(weights, name):
  return {'scale': weights[f'{name}.weight'], 'bias': weights[f'{name}.bias']}


def _params(model):
  w = {k: v.detach().numpy() for k, v in model.transformer.named_parameters()}
  size = WIDTH // HEADS
  trunk = {
    'token_embedding': w['wte.weight'],
    'position_embedding': w['wpe.weight'],
    'final_norm': _norm(w, 'ln_f'),
  }
  for i in range(LAYERS):
    attention = {
      name: _linear(
        w,
        f'h.{i}.attn.c_attn',
        (WIDTH, HEADS, size),
        slice(j * WIDTH, (j + 1) * WIDTH),
      )
      for j, name in enumerate('qkv')
    }
    attention['out'] = _linear(w, f'h.{i}.attn.c_proj', (HEADS, size, WIDTH))
    trunk[f'layer_{i}'] = {
      'attention_norm': _norm(w, f'h.{i}.ln_1'),
      'attention': attention,
      'mlp_norm': _norm(w, f'h.{i}.ln_2'),
      'mlp': {
        'in': _linear(w, f'h.{i}.mlp.c_fc', (WIDTH, 4 * WIDTH)),
        'out': _linear(w, f'h.{i}.mlp.c_proj', (4 * WIDTH, WIDTH)),
      },
    }
  return {'trunk': trunk}


@pytest.mark.parametrize(
  ('activation', 'theirs'),
  [('gelu_tanh', 'gelu_new'), ('gelu', 'gelu'), ('quick_gelu', 'quick_gelu')],
)
def test_logits_equal_those_of_transformers(activation, theirs):
  cfg = ModelConfig(
    vocab_size=VOCAB,
    layers=LAYERS,
    width=WIDTH,
    heads=HEADS,
    max_length=LENGTH,
    activation=activation,
  )
  model, gpt2 = decoder.LanguageModel(cfg), _gpt2(theirs)
  params = _params(gpt2)
  tokens = np.random.default_rng(0).integers(0, VOCAB, (2, 12))
  mask = np.ones_like(tokens)
  mask[1, :4] = 0  # left padding
  positions = np.maximum(mask.cumsum(1) - 1, 0)
  with torch.no_grad():
    want = gpt2(
      input_ids=torch.tensor(tokens),
      attention_mask=torch.tensor(mask),
      position_ids=torch.tensor(positions),
    ).logits.numpy()

  @jax.jit
  def ours(tokens, mask, cache=None):
    hidden, _ = model.apply(
      {'params': params}, tokens, segments=mask, cache=cache
    )
    return decoder.logits(hidden, decoder.unembedding(params, cfg))

  tokens, mask = tokens.astype(np.int32), mask.astype(np.int32)
  for cache in (None, kv_cache.init_cache(cfg, 2, 16)):
    got = np.asarray(ours(tokens, mask, cache))
    real = mask.astype(bool)
    np.testing.assert_allclose(got[real], want[real], rtol=1e-4, atol=1e-4)
