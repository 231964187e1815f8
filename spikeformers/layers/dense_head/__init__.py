"""Heads of detectors and segmenters. Anchors, matching, losses, NMS and RoIAlign are torchvision's.

These modules import torchvision; a classifier needs none of them.
"""
