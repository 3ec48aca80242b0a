"""Single values of a config with which nothing could run."""

from tests.bad_input.cases import Case
from tests.config_files import load
from tests.stages.complaints import complaints


def complain(lines):
  raise ValueError('\n'.join(lines))


def start(override, *messages):
  """An override of the embedded world; every line of the one error."""
  flags = [override] if isinstance(override, str) else override

  def run(tmp):
    given = [f'--config.{flag}'.replace('{tmp}', str(tmp)) for flag in flags]
    complain(complaints(load('ppo_ptx', '', *given)))

  return Case(run, '\n'.join(messages))


def bound(key, value, words):
  return start(f'{key}={value}', f'{key} {value} must be {words}')


ONE, TWO, ANY = 'at least 1', 'at least 2', '0 or more'
POSITIVE, SHARE = 'above 0', 'above 0 and below 1'
UNIT, RATE = 'from 0 to 1', '0 or more and below 1'
NUMBERS = {
  f'{key} {value}': bound(key, value, words)
  for key, value, words in (
    ('seed', -1, 'from 0 to 2,000,000,000'),
    ('pretrain.tokens', 0, ONE),
    ('pretrain.batch_size', -16, ONE),
    ('pretrain.log_every', 0, ONE),
    ('pretrain.dropout', 1.0, RATE),
    ('pretrain.optimizer.peak', -0.001, ANY),
    ('pretrain.optimizer.peak', 'nan', ANY),
    ('pretrain.optimizer.b1', 1.0, RATE),
    ('pretrain.optimizer.b2', -0.1, RATE),
    ('pretrain.optimizer.eps', 0.0, POSITIVE),
    ('pretrain.optimizer.warmup', -1, ANY),
    ('pretrain.optimizer.warmup_from', 2.0, UNIT),
    ('pretrain.optimizer.final', -0.1, UNIT),
    ('pretrain.optimizer.weight_decay', -0.1, ANY),
    ('pretrain.optimizer.clip_norm', -1.0, ANY),
    ('sft.epochs', 0, ONE),
    ('sft.chunk', 0, ONE),
    ('sft.microbatch_rows', -1, ANY),
    ('sft.pretrain_rows', -1, ANY),
    ('sft.pretrain_coef', -0.1, ANY),
    ('sft.save_every', -1, ANY),
    ('collect.prompts', 0, ONE),
    ('collect.temperature', 0.0, POSITIVE),
    ('reward.epochs', -1, ONE),
    ('reward.sequence_length', 1, TWO),
    ('reward.validation_share', 1.0, SHARE),
    ('ppo.iterations', 0, ONE),
    ('ppo.batch_size', 0, ONE),
    ('ppo.minibatch_size', 0, ONE),
    ('ppo.rollout_rows', -1, ANY),
    ('ppo.halvings', -1, ANY),
    ('ppo.windows.response', 0, ONE),
    ('ppo.ptx_microbatch_rows', -1, ANY),
    ('ppo.temperature', -1.0, POSITIVE),
    ('ppo.gamma', 1.1, UNIT),
    ('ppo.lam', -0.1, UNIT),
    ('ppo.lam', 'nan', UNIT),
    ('ppo.clip', 0.0, POSITIVE),
    ('ppo.value_clip', -0.2, ANY),
    ('ppo.kl_coef', -0.2, ANY),
    ('ppo.kl_horizon', 0.0, POSITIVE),
    ('ppo.ema_decay', 1.0, RATE),
    ('ppo.ratio_limit', 1.0, 'above 1'),
    ('ppo.critic_warmup', -1, ANY),
    ('ppo.missing_eos_value', 'inf', 'finite'),
    ('ppo.value_optimizer.peak', 'inf', ANY),
    ('evaluate.documents', 0, ONE),
    ('evaluate.pairs_shown', -1, ANY),
    ('data.prompt_length', 0, TWO),
    ('data.response_length', 0, ONE),
    ('data.row_length', 1, TWO),
    ('data.validation_share', 0.0, SHARE),
    ('data.world.demonstrations', 0, ONE),
  )
}
CHOICES = {
  key: start(f'{key}=other', f"{key} 'other': choose from {known}")
  for key, known in (
    ('sft.select', 'auto, validation_loss, reward, last'),
    ('evaluate.weights', 'ema, params'),
    ('ppo.missing_eos_rule', 'replace, subtract, none'),
    ('data.over_length', 'drop, truncate_left'),
    ('tokenizer.kind', 'train, gpt2, folder'),
    ('ppo.value_optimizer.schedule', 'cosine, constant, linear'),
  )
}
CASES = NUMBERS | CHOICES
