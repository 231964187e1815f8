"""SEW-ResNet against SpikingJelly's, with the same weights, in float64."""

import pytest
import torch
from torch.nn.functional import cross_entropy

import spikeformers as sf
from spikeformers.checkpoints.keys import translate
from spikeformers.models.registry import find_family

spikingjelly = pytest.importorskip("spikingjelly.activation_based")
from spikingjelly.activation_based import functional, neuron, surrogate  # noqa: E402
from spikingjelly.activation_based.model import sew_resnet  # noqa: E402

NAMES = ["sew_resnet18", "sew_resnet34", "sew_resnet50", "sew_resnet101", "sew_resnet152"]


def theirs(name, make_neuron=neuron.IFNode):
    def spiking_neuron():
        return make_neuron(surrogate_function=surrogate.ATan(), detach_reset=True)

    model = getattr(sew_resnet, name)(cnf="ADD", spiking_neuron=spiking_neuron)
    functional.set_step_mode(model, "m")
    return model


@pytest.mark.parametrize("name", NAMES)
def test_parameters(name):
    with torch.device("meta"):
        ours, their = sf.create_model(name), theirs(name)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in their.parameters())


@pytest.mark.parametrize("neurons", [("IF", neuron.IFNode), ("PLIF", neuron.ParametricLIFNode)], ids=["IF", "PLIF"])
@pytest.mark.parametrize("name", ["sew_resnet18", "sew_resnet50"])
def test_logits_and_gradients(name, neurons, tmp_path):
    their = theirs(name, neurons[1]).double()
    x = torch.randn(2, 2, 3, 32, 32).double()  # T B C H W
    lift(their)
    their.train()(x)  # running statistics that have seen something
    functional.reset_net(their)
    torch.save({"model": their.state_dict()}, tmp_path / "theirs.pth")
    ours = sf.create_model(name, neuron={"part": neurons[0], "surrogate": "ATan"}).double()
    sf.load_checkpoint(ours, tmp_path / "theirs.pth")

    expected = their.eval()(x)
    assert expected.std() > 1e-2
    assert torch.allclose(ours.eval().forward_steps(x), expected, rtol=0, atol=1e-9)

    functional.reset_net(their)
    for steps in (ours.train().forward_steps, their.train()):
        cross_entropy(steps(x).mean(0), torch.tensor([3, 5])).backward()
    gradients = {key: p.grad for key, p in their.named_parameters()}
    gradients = translate(gradients, find_family(name), ours.config, ours.state_dict())
    for key, p in ours.named_parameters():
        assert p.grad.norm() > 0, key
        assert torch.allclose(p.grad, gradients.pop(key), rtol=1e-6, atol=1e-9), key
    assert not gradients


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (dict(depths=(2, 2)), r"depths \(2, 2\) differ in length: give one of each"),
        (dict(kernel_sizes=(1, 1)), r"kernel_sizes \(1, 1\) are all 1 and see no neighbours: give at least"),
        (dict(strides=(2,)), r"strides \(2,\) are not two: give one for the convolution, one for the pool"),
    ],
)
def test_errors(overrides, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        sf.create_model("sew_resnet18", **overrides)


def lift(model):
    """Makes a fresh network spike all the way up: its norms push the membranes over the threshold."""
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(norm.weight, 1.5, 0.2)
        torch.nn.init.normal_(norm.bias, 0.5, 0.2)
