"""How sharpness and the generalization gap go with batch size, at equal learning rates and otherwise.

  python experiments/flat_minima/analyze.py WORKDIR

reads a finished run of configs/flat_minima.py and its sharpness.json, of all checkpoints, and writes
result.json and figure.png beside itself.
"""
