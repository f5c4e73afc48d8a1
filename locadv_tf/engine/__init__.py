"""An attack on a whole data set: the batch that stays full, on every device."""
