"""Estimators of the gradient noise scale; they know of gradients, and not of lanes."""
