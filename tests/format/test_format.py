"""Numbers as people read them."""

import pytest

from bsjax.format import plus_minus


@pytest.mark.parametrize(
  'mean, ci95, text',
  [
    (0.0123, [0.0119, 0.0127], '0.01230 ± 0.00040'),
    (1234.5, [1200.5, 1268.5], '1,234 ± 34'),
    (-2.0, [-2.5, -1.5], '-2.00 ± 0.50'),
    (3e7, [2e7, 4e7], '3e+07 ± 1e+07'),
    (0.5, [0.5, 0.5], '0.5 ± 0'),
    (0.5, [None, None], '0.5'),
    (None, [None, None], '–'),
  ],
)
def test_after_the_sign_stands_half_of_the_interval(mean, ci95, text):
  assert plus_minus({'mean': mean, 'ci95': ci95}) == text
