"""Lanes of one compiled program: their state, the tick that moves them, devices, evaluation."""
