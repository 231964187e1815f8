"""Counts of small networks against pencil and paper."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d

from spikeformers.analysis import CONVENTIONS, profile
from spikeformers.layers.attention import DSSA, QKCA, QKTA, SDSA, SSA, WideSSA
from spikeformers.layers.projection import RepConv, RepLinear
from spikeformers.neurons import IELIF, IF, ILIF, LIF, NILIF, PSN, IntegerHalfEven, IntegerHalfUp, SlidingPSN


class Says(nn.Module):
    """A neuron that puts out what it is told to, `[T, B, C, H, W]`."""

    levels = (0.0, 1.0)

    def __init__(self, spikes):
        super().__init__()
        self.spikes = spikes

    def forward(self, x):
        assert x.shape == self.spikes.shape
        return self.spikes


def spikes(*channels):
    """One step of one sample of so many channels on a map of 1 x N: `spikes("110", "001") -> [1, 1, 2, 1, 3]`."""
    return torch.tensor([[int(c) for c in row] for row in channels]).float()[None, None, :, None]


def layers(model, x, **how):
    return {layer.name: layer for layer in profile(model, [x], **how).layers}


# ---- weights


@pytest.mark.parametrize(
    ("place", "taps"),
    [((0, 0), 4), ((0, 1), 6), ((1, 1), 9), ((3, 3), 4), ((2, 3), 6)],
    ids=["corner", "edge", "middle", "other corner", "other edge"],
)
def test_a_spike_reaches_fewer_outputs_at_the_edge(place, taps):
    conv = nn.Conv2d(2, 5, 3, padding=1, bias=False)
    x = torch.zeros(1, 2, 4, 4)
    x[0, 1][place] = 1
    (layer,) = layers(nn.Sequential(conv), x).values()
    assert (layer.name, layer.op, layer.role) == ("0", "convolution", "first")
    assert layer.hits == layer.left_events == taps * 5
    assert layer.macs == 4 * 4 * 5 * 2 * 9  # as papers count, the padding too
    assert layer.dense == (4 * 4 + 8 * 6 + 4 * 9) * 2 * 5
    assert (layer.left.elements, layer.left.nonzeros, layer.left.kind) == (32, 1, "binary")


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "how",
    [
        dict(kernel_size=3, padding=1, stride=2),
        dict(kernel_size=(3, 2), padding=(2, 0), stride=(1, 3)),
        dict(kernel_size=3, dilation=2, padding=1),
        dict(kernel_size=2, stride=2, groups=2),
        dict(kernel_size=1),
        dict(kernel_size=7, padding=3, groups=4),
    ],
    ids=str,
)
def test_convolutions_count_what_ones_add_up_to(how, count):
    conv = nn.Conv2d(4, 8, bias=False, **how)
    x = (torch.rand(3, 4, 9, 8) < 0.3).float() * torch.randint(1, count + 1, (3, 4, 9, 8))
    settings = (conv.stride, conv.padding, conv.dilation, conv.groups)
    ones = torch.ones_like(conv.weight)
    (layer,) = layers(nn.Sequential(conv), x).values()
    assert layer.hits == conv2d((x != 0).float(), ones, None, *settings).sum()
    assert layer.left_events == conv2d(x, ones, None, *settings).sum()
    assert layer.dense == conv2d(torch.ones_like(x), ones, None, *settings).sum()
    assert layer.macs == conv(x).numel() * conv.weight[0].numel()
    assert (layer.left.kind, layer.left.most) == ("binary" if count == 1 else "integer", count)


def test_transposed_convolution():
    conv = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False)
    x = (torch.rand(2, 4, 5, 5) < 0.4).float()
    (layer,) = layers(nn.Sequential(conv), x).values()
    assert layer.hits == conv_transpose2d(x, torch.ones_like(conv.weight), None, 2, 1, 0, 2).sum()


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False),
        nn.Conv2d(4, 6, (3, 1), dilation=2, bias=False),
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2, bias=False),
        nn.ConvTranspose2d(4, 6, 2, bias=False),
    ],
    ids=str,
)
@pytest.mark.parametrize("most", [1, 3])
def test_weights_of_zero_connect_nothing(conv, most):
    nn.utils.prune.random_unstructured(conv, "weight", 0.7)
    x = (torch.rand(3, 4, 9, 8) < 0.3).float() * torch.randint(1, most + 1, (3, 4, 9, 8))
    (layer,) = layers(nn.Sequential(conv), x).values()
    there = copy.deepcopy(conv)
    nn.utils.prune.remove(there, "weight")
    there.weight.data = conv.weight.detach().ne(0).float()
    assert layer.hits == there((x != 0).float()).sum() and layer.left_events == there(x).sum()
    nn.init.ones_(there.weight)
    assert layer.dense == there(torch.ones_like(x)).sum()  # what a dense network computes


@pytest.mark.parametrize("first", [False, True])
def test_zeros_of_a_matrix_connect_nothing(first):
    matrix = torch.tensor([[0.5, -0.5, 0.0], [0.0, 0.0, 2.0], [1.0, 1.0, 1.0]])

    class Product(nn.Module):
        def forward(self, x):
            return matrix.T @ x if first else x @ matrix

    x = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    x = x.T if first else x
    (layer,) = layers(nn.Sequential(Product()), x).values()
    assert (layer.hits, layer.macs) == (2 + 3 + 1, 18)


def test_linear_and_its_bias():
    x = torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 0]])
    found = layers(nn.Sequential(nn.Linear(4, 7)), x)
    assert (found["0"].hits, found["0"].macs, found["0"].op) == (3 * 7, 8 * 7, "linear")
    assert (found["0.bias"].hits, found["0.bias"].op) == (14, "bias")


def test_a_folded_norm_leaves_one_bias():
    assert biases(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)) == 1
    assert biases(nn.Conv2d(1, 3, 1), nn.MaxPool2d(1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)) == 1
    assert biases(nn.Conv2d(1, 3, 1, bias=False), nn.BatchNorm2d(3)) == 1


@pytest.mark.parametrize("between", [nn.ReLU(), nn.ReLU(inplace=True), nn.Sigmoid(), nn.GELU()], ids=str)
def test_a_bias_does_not_fold_through_a_bound_or_a_function(between):
    """Wherever the result lies in memory."""
    model = nn.Conv2d(1, 3, 1), between, nn.BatchNorm2d(3)
    assert {biases(*model) for _ in range(5)} == {2}
    assert biases(*model, nn.BatchNorm2d(3)) == (2 if isinstance(between, nn.ReLU) else 3)


def biases(*model):
    """How many additions of biases an output takes."""
    found = profile(nn.Sequential(*model).eval(), [torch.ones(2, 1, 4, 4)]).layers
    return sum(layer.hits for layer in found if layer.op == "bias") / (2 * 3 * 16)


class Sum(nn.Module):
    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return sum(branch(x) for branch in self.branches[1:]) + self.branches[0](x)


def test_a_sum_of_layers_has_a_bias_for_each_or_that_of_the_norm():
    plain, biased = nn.Conv2d(1, 3, 1, bias=False), nn.Conv2d(1, 3, 1)
    assert biases(Sum(biased, nn.Conv2d(1, 3, 1)), nn.BatchNorm2d(3)) == 2
    assert biases(Sum(plain, biased), nn.BatchNorm2d(3)) == biases(Sum(plain), nn.BatchNorm2d(3)) == 1


def test_a_constant_behind_a_bound_is_added():
    class Shifted(nn.Module):
        def forward(self, x):
            return x.relu() + 0.5

    conv = nn.Conv2d(1, 2, 1)
    nn.init.constant_(conv.weight, 1.0)
    nn.init.constant_(conv.bias, -0.5)
    found = layers(nn.Sequential(conv, Shifted()), torch.tensor([[[[1.0, 0, 1]]]]))
    assert (found["1.add1"].hits, found["1.add1"].macs) == (2 * 2, 6)  # where the bound lets a number through


def test_real_inputs_are_multiplied():
    x = torch.tensor([[0.5, 0, 1, 0]])
    total = profile(nn.Sequential(nn.Linear(4, 3, bias=False)), [x]).total("strict")
    assert (total.ac, total.mac) == (0, 6)


@pytest.mark.parametrize(("chain", "size"), [(RepConv, 3), (RepLinear, 1)])
def test_a_chain_that_folds_is_one_convolution(chain, size):
    x = (torch.rand(2, 1, 4, 5, 5) < 0.5).float()
    model = nn.Sequential(chain(4, 6)).eval()
    (layer,) = (layer for layer in layers(model, x).values() if layer.op == "convolution")
    assert layer.hits == conv2d(x[:, 0], torch.ones(6, 4, size, size), padding=size // 2).sum()
    assert layer.macs == 2 * 6 * 25 * 4 * size**2


@pytest.mark.parametrize(
    ("pool", "windows"), [(nn.MaxPool2d(3, 2, 1), 4), (nn.AvgPool2d(2), 1), (nn.MaxPool2d(2, 1), 4)]
)
def test_a_spike_is_seen_by_each_window_that_holds_it(pool, windows):
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 1] = 1
    (layer,) = layers(nn.Sequential(pool), x).values()
    assert (layer.name, layer.op, layer.hits) == ("0.pool1", "pool", windows)


# ---- attention: two channels or four, three tokens, one head or two

Q = ("101", "110")
K = ("011", "100")
V = ("111", "010")


def told(part, **neurons):
    for name, says in neurons.items():
        setattr(part, name, Says(says))
    return part.eval()


def neuron(v_threshold=1.0):
    return nn.Identity()


def test_ssa_values_first():
    """k^T v: tokens where both fire, (k1 v1) 2 + (k1 v2) 1 + (k2 v1) 1 + (k2 v2) 0; then q over what is not 0 in it."""
    part = told(
        SSA(2, 1, neuron),
        q_neuron=spikes(*Q),
        k_neuron=spikes(*K),
        v_neuron=spikes(*V),
        attn_neuron=spikes("000", "000"),
    )
    found = layers(part, spikes(*Q))
    first, second = found["product1"], found["product2"]
    assert (first.hits, first.macs, first.left.kind, first.right.kind) == (4, 3 * 2 * 2, "binary", "binary")
    assert first.sides == ("k", "v")
    # k^T v is [[2, 1], [1, 0]]: q fires twice on channel 1, which meets 2 numbers, twice on channel 2, which meets 1
    assert (second.hits, second.right_events, second.macs) == (2 * 2 + 2 * 1, 2 * 3 + 2 * 1, 12)
    assert (second.left.kind, second.right.kind, second.right.most) == ("binary", "integer", 2)
    assert second.attention and second.sides[0] == "q"


def test_ssa_scores_first():
    """Few tokens, wide heads: q k^T is what there is to count."""
    one = spikes("1", "1", "0", "1")
    two = spikes("1", "0", "1", "1")
    part = told(SSA(4, 1, neuron), q_neuron=one, k_neuron=two, v_neuron=one, attn_neuron=one * 0)
    found = layers(part, one)
    assert found["product1"].hits == 2  # channels 1 and 4
    assert (found["product2"].hits, found["product2"].macs) == (3, 4)


def test_ssa_heads_do_not_meet():
    q, k, v = spikes("111", "000"), spikes("000", "111"), spikes("111", "111")
    part = told(SSA(2, 2, neuron), q_neuron=q, k_neuron=k, v_neuron=v, attn_neuron=q)
    found = layers(part, q)
    assert found["product1"].hits == 3  # head 2's k and v
    assert found["product2"].hits == 0  # but there q is silent
    assert found["product1"].macs == 2 * 3


def test_wide_ssa():
    q, k, v = spikes(*Q), spikes(*K), spikes(*V, *V)
    part = told(WideSSA(2, 1, neuron, value_ratio=2), q_neuron=q, k_neuron=k, v_neuron=v, attn_neuron=v)
    found = layers(part, q)
    assert (found["product1"].hits, found["product1"].macs) == (2 * 4, 3 * 2 * 4)


def test_sdsa():
    mask = spikes("1", "0")
    part = told(SDSA(2, 1, neuron), q_neuron=spikes(*Q), k_neuron=spikes(*K), v_neuron=spikes(*V), attn_neuron=mask)
    part.attn_neuron.forward = lambda x: mask
    found = layers(part, spikes(*Q))
    assert (found["mask1"].hits, found["mask1"].macs) == (2, 6)  # k v: channel 1 twice, channel 2 never
    assert found["sum1"].hits == 2
    assert (found["mask2"].hits, found["mask2"].macs) == (2, 6)  # q where the mask is 1
    assert found["proj.conv"].hits == 2 * 2
    counted = profile(part, [spikes(*Q)])
    of_attention = [layer for layer in counted.layers if layer.op in ("mask", "sum")]
    for convention in ("spikformer", "sdt", "spikingformer", "spikingresformer", "integer"):
        assert sum(CONVENTIONS[convention].count(layer)[0] for layer in of_attention) == 2 + 2 + 2


@pytest.mark.parametrize("convention", ["spikformer", "sdt", "spikingformer", "spikingresformer", "integer"])
def test_a_mask_costs_what_passes_whichever_side_comes_first(convention):
    class Masked(nn.Module):
        def __init__(self, swapped, left, right):
            super().__init__()
            self.attn_neuron, self.swapped, self.left, self.right = neuron(), swapped, left, right

        def forward(self, x):
            left, right = self.left(x), self.right(x)
            return right * left if self.swapped else left * right

    often, seldom = spikes("1111", "1100"), spikes("1000", "1000")

    def additions(swapped, left, right):
        (mask,) = (layer for layer in layers(Masked(swapped, left, right), often).values() if layer.op == "mask")
        return CONVENTIONS[convention].count(mask)[0]

    for left, right in ((Says(often), Says(seldom)), (nn.Sigmoid(), Says(seldom))):
        assert additions(False, left, right) == additions(True, left, right) == 2
    assert additions(False, nn.Sigmoid(), nn.Sigmoid()) == 0


def test_qkta():
    mask = spikes("101")[:, :, :, None]  # T B M 1 H W
    part = told(QKTA(2, 1, neuron), q_neuron=spikes(*Q), k_neuron=spikes(*K))
    part.attn_neuron = Says(mask)
    found = layers(part, spikes(*Q))
    assert found["sum1"].hits == 4  # all spikes of q
    assert (found["mask1"].hits, found["mask1"].macs) == (2, 6)  # k at tokens 1 and 3


def test_qkca():
    part = told(QKCA(2, 1, neuron), q_neuron=spikes(*Q), k_neuron=spikes(*K))
    part.attn_neuron = Says(spikes("1", "0"))
    found = layers(part, spikes(*Q))
    assert (found["sum1"].hits, found["mask1"].hits) == (4, 2)


def test_dssa_adds_real_numbers_where_spikes_are():
    x = spikes(*Q)
    part = DSSA(2, 1, neuron).eval()
    nn.init.constant_(part.kv.norm.bias, 0.3)
    part.attn_neuron = Says(torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 0]])[None, None, None])
    part.out_neuron = Says(x)
    found = layers(part, x)
    first, second = found["product1"], found["product2"]
    assert (first.left.kind, first.right.kind) == ("binary", "real")
    assert (first.hits, first.macs) == (4 * 3, 3 * 2 * 3)  # each spike of x adds a row of three numbers
    assert (second.hits, second.macs) == (3 * 2, 3 * 3 * 2)
    assert second.sides[0] == "attn"


# ---- what is not ours


class Torch(nn.Module):
    """Bare products, einsum and PyTorch's own attention."""

    def forward(self, x):
        y = torch.einsum("bnd,bmd->bnm", x, x)
        return y @ x, nn.functional.scaled_dot_product_attention(x, x, x)


def test_bare_products_of_a_users_own_model():
    x = torch.tensor([[[1.0, 0, 1], [0, 0, 1]]])
    found = layers(Torch(), x)
    assert found["product1"].hits == 1 + 4  # columns of 1, 0 and 2 ones meet themselves
    assert found["product2"].hits == 2 * 3 - 0  # x x^T has no zero here: each of 3 spikes meets 2 rows
    assert [found[f"product{i}"].macs for i in (1, 2, 3, 4)] == [12, 12, 12, 12]
    assert (found["product3"].hits, found["product4"].left.kind) == (5, "real")


def test_a_matrix_and_a_kernel_of_one_module_are_two_layers():
    class Both(nn.Module):
        def forward(self, x):
            return conv2d(x @ torch.ones(3, 3), torch.ones(1, 1, 1, 1))

    linear, convolution = layers(nn.Sequential(Both()), torch.tensor([[[[1.0, 0, 1]]]])).values()
    assert (linear.name, linear.op, linear.left.kind, linear.hits) == ("0", "linear", "binary", 6)
    assert (convolution.name, convolution.op, convolution.hits) == ("0.convolution1", "convolution", 3)
    assert convolution.left.kind != "binary"  # twos


def test_in_place_or_not():
    class Adds(nn.Module):
        def forward(self, x, y=None):
            y = x.flip(0) * 1
            y += x
            return y.mul_(x)

    x = torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 0]])
    found = layers(Adds(), x)
    assert found["add1"].hits == 2  # the third column, of both
    assert found["mask1"].hits == 3  # wherever x is


@pytest.mark.parametrize("step_mode", ["m", "s"])
def test_plain_pytorch_with_neurons_of_spikingjelly(step_mode):
    from spikingjelly.activation_based import functional, layer, neuron

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.lif = layer.Conv2d(1, 2, 3, padding=1, bias=False), neuron.LIFNode()
            self.fc = layer.Linear(2 * 16, 3, bias=False)
            functional.set_step_mode(self, step_mode)

        def forward(self, x):
            if step_mode == "m":
                return self.fc(self.lif(self.conv(x)).flatten(2))
            return torch.stack([self.fc(self.lif(self.conv(step)).flatten(1)) for step in x])

    model = Own()
    nn.init.constant_(model.conv.weight, 0.4)
    x = torch.rand(3, 5, 1, 4, 4)  # T B C H W
    functional.reset_net(model)
    spikes = []
    hook = model.lif.register_forward_hook(lambda module, inputs, output: spikes.append(output.clone()))
    model(x)
    hook.remove()
    functional.reset_net(model)
    fired = sum(int(s.sum()) for s in spikes)
    for _ in range(2):  # a second time there is nothing left of the first
        found = profile(model, [x])
        (linear,) = (layer for layer in found.layers if layer.name == "fc")
        assert fired > 0 and linear.hits == fired * 3
        assert (found.samples, found.steps) == (5, 3)
        assert found.activity[0].by_step.sum() == fired
        assert linear.left.kind == "binary"
        assert [layer.passes for layer in found.layers if layer.op in ("convolution", "linear")] == [3, 3]
        assert found.twin.macs == 2 * (2 + 3 + 3 + 2) ** 2 + 32 * 3  # one pass of both, without padding


def test_neurons_derived_from_spikingjellys_forget_too():
    from spikingjelly.activation_based import neuron

    class Mine(neuron.IFNode):
        pass

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.neuron, self.fails = Mine(), False

        def forward(self, x):
            y = self.neuron(x)
            if self.fails:
                raise RuntimeError("the second half is missing")
            return y

    model, x = Model(), torch.full((1, 4), 0.6)
    for _ in range(2):
        assert profile(model, [x, x]).activity[0].by_step.tolist() == [0]
    model.fails = True
    with pytest.raises(RuntimeError, match="second half"):
        profile(model, [x])
    assert model.neuron.v == 0.0


@pytest.mark.parametrize(
    ("neuron", "multiplications", "resets"),
    [
        (IF(), 0, 1),
        (LIF(), 1, 1),
        (ILIF(), 1, 1),
        (PSN(time_steps=3), 3, 0),
        (SlidingPSN(order=2), 2, 0),
        *((integer(), 0, 0) for integer in (IntegerHalfEven, IntegerHalfUp, IELIF, NILIF)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_an_update_costs_what_its_neuron_says(neuron, multiplications, resets):
    x = 2 * torch.rand(3, 2, 4, 5, 5)
    found = profile(nn.Sequential(neuron), [x]).total("strict")
    numbers, fired = x.numel() / 2, int(neuron(x).count_nonzero()) / 2
    assert found.mac == multiplications * numbers
    assert found.ac == resets * fired + (multiplications == 0) * numbers


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_neurons_that_run_step_by_step_are_told_from_samples(channels):
    from spikingjelly.activation_based import neuron

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = neuron.IFNode(step_mode="s")

        def forward(self, x):
            return torch.stack([self.lif(step) for step in x])

    (activity,) = profile(Loop(), [torch.ones(3, 5, channels, 4, 4)]).activity
    assert (activity.neurons, activity.rates, activity.saturated) == (channels * 16, [1, 1, 1], 1)
