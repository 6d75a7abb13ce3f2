"""Speed: all settings of a study as lanes of one program, against the usual ways to train them."""
