"""A grid of training runs on one machine: which runs, and how they are carried out."""
