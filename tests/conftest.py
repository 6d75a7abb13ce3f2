"""Test set-up: two CPU devices, shapes checked at run time."""

import jax
from jaxtyping import install_import_hook

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 2)

# No persistent compilation cache: reading a program back from it once crashed jaxlib 0.10.2, and a
# crash takes the tests of a whole worker with it.

# Every jaxtyping annotation of the package is checked while the tests run.
install_import_hook('bsjax', 'beartype.beartype')
