"""How a study runs on the machine at hand: micro-batches and strategies, by timing them."""
