"""Figures take most of the time of a page, and few tests look at them."""

from matplotlib.figure import Figure

from bsjax.report.figures import drawing


def figures(monkeypatch):
  """Pages have blank ones until the patches are undone."""
  monkeypatch.setattr(drawing, 'draw', lambda *_: Figure((1, 1)))
