"""Numbers of an audit's answer."""

from bsjax.audit import answer


def test_of_losses_the_ends_of_a_slope_change_places(monkeypatch):
  """It is read from minus their logarithms."""
  monkeypatch.setattr(answer, 'trend_ends', lambda claims: (-0.02, -0.03, -0.01))
  assert answer._slope([], log_loss=True) == [0.02, 0.01, 0.03]
  assert answer._slope([], log_loss=False) == [-0.02, -0.03, -0.01]
