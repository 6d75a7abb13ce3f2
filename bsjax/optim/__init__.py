"""Optimizers whose hyperparameters are data, schedules on examples seen, frozen parameters."""
