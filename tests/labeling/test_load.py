"""Labelers at once, and a server that is killed among them."""

import pytest

from benchmarks import labeling


@pytest.mark.slow
def test_nothing_is_lost_when_the_server_is_killed_under_load(tmp_path):
  found = labeling.measure(
    tmp_path, labelers=12, seconds=4.0, think=0.1, kills=3, between=1.0
  )
  assert found['first_faults'] == []
  assert found['answers'] > 100 and found['sent_again'] > 0
  assert found['lost'] == found['never_acknowledged'] == found['doubled'] == 0
  assert found['handed_out_too_often'] == 0
