"""The micro run of `tests.stages.micro`, ranked by people, up to the reward."""

from tests.stages import micro


def get_config(preset: str = ''):
  config = micro.get_config(preset)
  config.stages = ('pretrain', 'sft', 'collect', 'reward')
  config.collect.update(dict(labelers='web', prompts=40, enough=1.0, poll=0.3))
  return config
