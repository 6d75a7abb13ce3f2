"""Numbers as people read them."""

import pytest

from bsjax.format import GIB, bytes_text, measured, number, plus_minus


@pytest.mark.parametrize(
  'mean, ci95, text',
  [
    (0.0123, [0.0119, 0.0127], '0.01230 ± 0.00040'),
    (1234.5, [1200.5, 1268.5], '1,234 ± 34'),
    (-2.0, [-2.5, -1.5], '-2.00 ± 0.50'),
    (3e7, [2e7, 4e7], '3e+07 ± 1e+07'),
    (0.0, [-0.3, 0.3], '0.00 ± 0.30'),
    (12345.0, [12000.0, 12690.0], '12,345 ± 345'),
    (0.5, [0.5, 0.5], '0.5 ± 0'),
    (0.5, [None, None], '0.5'),
    (None, [None, None], '–'),
  ],
)
def test_after_the_sign_stands_half_of_the_interval(mean, ci95, text):
  assert plus_minus({'mean': mean, 'ci95': ci95}) == text


@pytest.mark.parametrize(
  'value, text',
  [(999.4, '999'), (999.6, '1,000'), (1000, '1,000'), (-999.6, '-1,000'), (-2500.0, '-2,500')],
)
def test_a_thousand_is_no_power_of_ten(value, text):
  assert number(value) == text


@pytest.mark.parametrize(
  'size, text',
  [(GIB - 2**20, '1,023 MiB'), (GIB, '1 GiB'), (2**19, '0.5 MiB'), (None, '–')],
)
def test_bytes_are_in_the_largest_unit_that_they_fill(size, text):
  assert bytes_text(size) == text


@pytest.mark.parametrize('high, text', [(10.9, '10.4'), (11.1, '10')])
def test_three_digits_take_an_upper_end_within_a_tenth_of_the_lower(high, text):
  assert measured(10.44, 10.0, high) == text
