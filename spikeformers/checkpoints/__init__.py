"""Weight files: read, load, save and publish them, and identify the model in an unknown one."""

from spikeformers.checkpoints.create import create_model
from spikeformers.checkpoints.identify import Candidate, identify
from spikeformers.checkpoints.load import from_pretrained, load_checkpoint
from spikeformers.checkpoints.read import Checkpoint, read_checkpoint
from spikeformers.checkpoints.save import push_to_hub, save_pretrained

__all__ = [
    "Candidate", "Checkpoint", "create_model", "from_pretrained", "identify", "load_checkpoint", "push_to_hub",
    "read_checkpoint", "save_pretrained",
]  # fmt: skip
