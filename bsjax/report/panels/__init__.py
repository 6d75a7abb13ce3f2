"""The panels that figures are made of."""
