"""FLOPs of a decoder by arithmetic: a product and its sum are two."""

from __future__ import annotations

from instructgpt_jax.models.config import ModelConfig

PETAFLOP_DAY = 1e15 * 86_400  # 1 petaflop/s for a day, the paper's unit (5.1)


def layer_weights(cfg: ModelConfig) -> dict[str, int]:
  """Returns the weights of one layer's matrices, by what comes out of them."""
  heads, width = cfg.head_size * cfg.width, cfg.width
  return {
    'qkv': heads * (cfg.heads + 2 * cfg.kv_heads),
    'out': heads * cfg.heads,
    'mlp': width * cfg.mlp_width * (2 if cfg.gated else 1),
    'end': width * cfg.mlp_width,
  }


def matmul_weights(cfg: ModelConfig) -> int:
  """Returns the weights of one layer's matrices."""
  return sum(layer_weights(cfg).values())


def forward(
  cfg: ModelConfig,
  rows: float,
  length: float,
  context: float,
  unembedded: float,
) -> float:
  """Returns FLOPs of `rows` rows of `length` tokens that see `context` each.

  `unembedded` positions of all rows get logits.
  """
  tokens = rows * length
  layer = 2.0 * tokens * matmul_weights(cfg)
  layer += 4 * tokens * context * cfg.heads * cfg.head_size
  return cfg.layers * layer + 2 * unembedded * cfg.hidden_width * cfg.vocab_rows


def written(
  cfg: ModelConfig, rows: float, prompt: float, answer: float
) -> float:
  """Returns FLOPs of writing: the prompt at once, then token after token."""
  first = forward(cfg, rows, prompt, prompt / 2, rows)
  steps = max(answer - 1, 0)
  return first + forward(cfg, rows, steps, prompt + answer / 2, rows * steps)
