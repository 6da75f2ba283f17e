"""The measuring half: which tensors to look at, when, and what is made of them."""
