"""Functions on tensors. In an op's folder `reference.py` defines the result; the other files compute it faster."""
