"""Images and recordings with boxes or masks: datasets for detection and segmentation."""
