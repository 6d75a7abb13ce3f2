"""Which micro-batches are timed and chosen, by made-up timings with a known best answer."""

import pytest

from bsjax.autotune import grouping
from bsjax.autotune.grouping import GroupingLimits, Timing

LANES = dict.fromkeys((8, 16, 32, 64, 128, 256), 6)


def timings(per_example, overhead, micro_batches=(8, 32), start=0.0):
  """Ticks that take `overhead` seconds and `per_example` more for each example, of 10 lanes."""
  return [
    Timing(micro, 'map-canonical', 10, 10 * (overhead + micro * per_example), start)
    for micro in micro_batches
  ]


def limits(common, **keys):
  return GroupingLimits(common, **keys)


@pytest.mark.parametrize(
  'sizes, common, smaller, larger',
  [
    ((8, 16, 32, 64, 128, 256), 8, [], [32]),
    ((8, 1024), 8, [], [32, 128]),
    ((256, 512), 32, [8], [128]),
    ((8, 16), 8, [], []),
    ((10, 30), 10, [], []),
    ((12, 240), 12, [], [48]),
  ],
)
def test_candidates_keep_enough_ticks_an_update(sizes, common, smaller, larger):
  assert grouping.candidates(sizes, limits(common)) == (smaller, larger)


def test_candidates_on_a_cpu_are_closer_and_without_noise_as_large_as_the_batches():
  sizes = (8, 16, 32, 64, 128, 256)
  on_cpu = grouping.limits(8, True, 'cpu', 2)
  assert grouping.candidates(sizes, on_cpu) == ([], [16, 32, 64])
  assert grouping.candidates((256, 512), grouping.limits(32, True, 'cpu', 2)) == (
    [16, 8],
    [64, 128],
  )
  unmeasured = grouping.limits(8, False, 'cpu', 2)
  assert grouping.candidates(sizes, unmeasured) == ([], [16, 32, 64, 128, 256])
  assert grouping.candidates(sizes, grouping.limits(8, False, 'gpu', 1)) == ([], [32, 128])
  assert grouping.limits(8, True, 'gpu', 1) == limits(8)


def test_a_batch_size_ticks_at_divisors_and_at_least_four_times_an_update():
  assert grouping.usable(128, 32, limits(8))
  assert not grouping.usable(64, 32, limits(8))  # two ticks
  assert grouping.usable(64, 32, limits(8, fewest_ticks=1))
  assert not grouping.usable(100, 32, limits(4))  # no divisor
  assert not grouping.usable(16, 32, limits(8, fewest_ticks=1))
  assert grouping.usable(8, 8, limits(8))  # one tick, but there is nothing smaller in common


def test_ticks_all_overhead_are_made_large_where_they_can():
  chosen = grouping.choose(LANES, 100_000, timings(1e-9, 1e-3), limits(8))
  assert chosen == {8: 8, 16: 8, 32: 8, 64: 8, 128: 32, 256: 32}


def test_ticks_without_overhead_stay_together():
  assert grouping.choose(LANES, 100_000, timings(1e-3, 1e-9), limits(8)) == dict.fromkeys(LANES, 8)


def test_larger_ticks_may_be_slower_by_the_example():
  slow = [Timing(32, 'map-canonical', 1, 0.32, 0.0), Timing(8, 'map-canonical', 1, 0.04, 0.0)]
  sizes = {32: 1, 64: 1}
  assert grouping.choose(sizes, 100_000, slow, limits(32)) == {32: 8, 64: 8}


def test_a_group_that_does_not_pay_for_its_compilation_is_not_made():
  slow_start = timings(1e-9, 1e-3, start=60.0)
  assert grouping.choose(LANES, 10_000, slow_start, limits(8)) == dict.fromkeys(LANES, 8)
  assert grouping.choose(LANES, 1_000_000, slow_start, limits(8))[256] == 32


@pytest.mark.parametrize('saved, taken', [(0.25, False), (0.35, True)])
def test_a_small_gain_is_not_taken(saved, taken):
  """Lanes of 128 and 256 are a third of the work, so a third of what they save is saved."""
  rows = [Timing(8, 'a', 1, 8e-3, 0.0), Timing(32, 'a', 1, (1 - saved) * 32e-3, 0.0)]
  assert (grouping.choose(LANES, 100_000, rows, limits(8))[256] == 32) == taken


def test_each_micro_batch_runs_as_it_is_fastest():
  rows = [Timing(8, 'map-canonical', 4, 0.4, 0.0), Timing(8, 'vmap-native', 40, 2.0, 0.0)]
  assert grouping.fastest(rows, 8).strategy == 'vmap-native'  # 0.05 a lane, not 0.1


def test_predicted_seconds_count_ticks_of_all_lanes_and_a_start_for_each_group():
  rows = [Timing(8, 'a', 2, 0.2, 5.0), Timing(32, 'a', 1, 0.3, 7.0)]
  seconds = grouping.predicted_seconds({8: 8, 128: 32}, {8: 3, 128: 2}, 6400, rows)
  assert seconds == pytest.approx(3 * 800 * 0.1 + 2 * 200 * 0.3 + 5.0 + 7.0)


def test_groups_that_do_not_fill_the_devices_are_predicted_to_take_as_long_as_those_that_do():
  """Six lanes are three rounds of two devices; one lane of each batch size is a round for each."""
  rows = [Timing(micro, 'a', 6, 0.6, 0.0) for micro in (8, 16)]
  one_each = dict.fromkeys((16, 32, 64, 128, 256, 512), 1)
  together, apart = dict.fromkeys(one_each, 16), {size: 16 if size > 16 else 8 for size in one_each}
  total = 1600

  def predict(choice, devices):
    return grouping.predicted_seconds(choice, one_each, total, rows, devices)

  assert predict(together, 2) == pytest.approx(100 * 0.6)
  assert predict(apart, 2) == pytest.approx(100 * 0.6 + 200 * 0.2)  # 5 lanes and 1
  assert predict(apart, 1) == pytest.approx(100 * 0.5 + 200 * 0.1)
