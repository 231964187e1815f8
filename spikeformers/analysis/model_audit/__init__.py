"""Auditing anyone's model for leaks between samples, calls and steps, and for what spikes and gradients do."""
