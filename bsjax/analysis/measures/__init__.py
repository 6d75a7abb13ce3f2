"""What is measured of runs: optimum, critical batch size, noise scale, generalization gap."""
