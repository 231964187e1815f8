"""Functions on tensors, one folder an op: `reference.py` defines what it computes, faster ways stand beside it."""
