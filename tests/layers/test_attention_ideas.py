"""Attention's variants against their formulas, on cases small enough to count by hand or written out step by step."""

import inspect

import pytest
import torch

from spikeformers.layers.attention import (
    A2OS2A,
    SEMM,
    SSA,
    TIM,
    XNORSSA,
    AvgPoolMixer,
    CausalSSA,
    DepthwiseMixer,
    DilatedWindowSSA,
    FrozenSSA,
    GrayXNOR,
    GroupSSA,
    IdentityMixer,
    LogXNOR,
    MaxPoolMixer,
    PrunedSSA,
    STAtten,
    TimeMixSSA,
    WindowSSA,
)
from spikeformers.layers.attention.gray_xnor import gray_code
from spikeformers.layers.attention.log_xnor import log_bias
from spikeformers.layers.block import block
from spikeformers.layers.mlp import SepConv
from spikeformers.layers.projection import RepConv
from spikeformers.layers.shortcut import MembraneShortcut
from spikeformers.models.parts import describe_part, find_part
from spikeformers.neurons import LIF, PLIF, TernaryLIF

T, B, C, H, W, M = 3, 2, 8, 2, 4, 2
N, D = H * W, C // M


def spikes(*shape, share=0.4):
    return (torch.rand(*shape) < share).float()


@pytest.fixture
def qkv():
    return [spikes(T, B, M, N, D) for _ in range(3)]


def heads(rows):
    """One step, sample and head of tokens: `[N, D] -> [1, 1, 1, N, D]`."""
    return torch.tensor(rows, dtype=torch.float32)[None, None, None]


# Two tokens of two bits. Equal bits: q0 k0 2, q0 k1 1, q1 k0 1, q1 k1 0.
Q, K, V = heads([[1, 0], [1, 1]]), heads([[1, 0], [0, 0]]), heads([[1, 0], [0, 1]])


def test_xnor_counts_equal_bits():
    part = XNORSSA(2, 1, LIF, scale=0.5)
    assert part.agreement(Q, K, 1, 2)[0, 0, 0].tolist() == [[2, 1], [1, 0]]
    assert part.attend(Q, K, V, 1, 2)[0, 0, 0].tolist() == [[1, 0.5], [0.5, 0]]
    silent = torch.zeros_like(Q)  # all agree, and none more than another
    assert part.attend(silent, silent, V, 1, 2)[0, 0, 0].tolist() == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match=r"scale 1.0 is not in \(0, 1\)"):
        XNORSSA(2, 1, LIF, scale=1.0)


def test_what_fires_hangs_on_queries_and_keys():
    """Sparse bits mostly agree, being 0: the least is taken away, or every token would get the same."""
    core = XNORSSA(32, 2, LIF)
    q, k, v = ((torch.rand(4, 2, 2, 16, 16) < 0.1).float() for _ in range(3))
    fired = core.attn_neuron(core.attend(q, k, v, 4, 4))
    others = core.attn_neuron(core.attend(q.flip(-2), k.flip(-1), v, 4, 4))
    assert 0.05 < fired.mean() < 0.95
    assert (fired != others).float().mean() > 0.02


def test_gray_codes_bring_tokens_of_one_row_together():
    assert gray_code(4, 2, Q).tolist() == [[0, 0], [0, 1], [1, 1], [1, 0]]
    code = gray_code(16, 5, Q)
    for step in (1, 2, 4, 8):
        apart = (code[step:] - code[:-step]).abs().sum(1)
        assert apart.unique().tolist() == [min(step, 2)]  # bits apart, the same wherever the two are
    # 10 bits more, of which two neighbours share 9
    for map_of_two in ((2, 1), (1, 2)):
        assert GrayXNOR(2, 1, LIF).agreement(Q, K, *map_of_two)[0, 0, 0].tolist() == [[12, 10], [10, 10]]
    with pytest.raises(ValueError, match="a map of 5 x 4 has more places than 4 bits: set bits=6"):
        GrayXNOR(2, 1, LIF, bits=4).attend(*(torch.zeros(1, 1, 1, 20, 2) for _ in range(3)), 5, 4)
    with pytest.raises(ValueError, match=r"bits 9 is odd, .* even"):
        GrayXNOR(2, 1, LIF, bits=9)


def test_log_bias_falls_with_distance():
    assert log_bias(4, Q)[0].tolist() == [2, 1, 0, 0]  # ceil of log2 of 3, 3/2, 1, 3/4
    assert log_bias(1, Q).tolist() == [[0]]
    assert log_bias(2, Q).tolist() == [[0, 0], [0, 0]]
    q, k, v = (spikes(1, 1, 1, 4, 3) for _ in range(3))
    equal = (q[..., :, None, :] == k[..., None, :, :]).float().sum(-1)
    agree = equal + log_bias(4, q)
    assert torch.allclose(LogXNOR(3, 1, LIF, scale=0.5).attend(q, k, v, 2, 2), 0.5 * agree @ v)


@pytest.mark.parametrize(("part", "released"), [(LogXNOR, [0.1259, 0.1439, 0.1439, 0.1259]), (GrayXNOR, [0.7194] * 4)])
def test_position_codes_take_no_minimum_away(part, released):
    """Four silent tokens in a row, one channel: the gain begins at sigmoid(-4)."""
    silent, ones = torch.zeros(1, 1, 1, 4, 1), torch.ones(1, 1, 1, 4, 1)
    with torch.no_grad():
        current = part(1, 1, LIF).attend(silent, silent, ones, 1, 4)
    assert current.flatten().tolist() == pytest.approx(released, abs=5e-5)


@pytest.mark.parametrize("part", [XNORSSA, GrayXNOR, LogXNOR])
def test_xnor_wants_bits(part):
    with pytest.raises(
        ValueError, match=r"takes spikes of 0 and 1, and TernaryLIF has the levels .*use a binary neuron"
    ):
        part(8, 2, TernaryLIF)


def test_frozen_attention_is_ssa_that_learns_its_values_only():
    x = spikes(T, 4, C, H, W)
    frozen, ssa = FrozenSSA(C, M, LIF, scale=0.5), SSA(C, M, LIF, scale=0.5)
    ssa.load_state_dict(frozen.state_dict())
    assert torch.equal(frozen(x), ssa(x))
    trained = {name.split(".")[0] for name, parameter in frozen.named_parameters() if parameter.requires_grad}
    assert trained == {"v", "proj"}


def test_a2os2a(lively):
    x = spikes(T, B, C, H, W)
    part = lively(A2OS2A(C, M, LIF), x)

    def tokens(y):
        return y.flatten(-2).unflatten(2, (M, D)).transpose(-2, -1)

    q, k = tokens(LIF()(part.q(x))), tokens(part.k(x).clamp(min=0))
    v = tokens(TernaryLIF()(part.v(x)))
    assert set(v.unique().tolist()) == {-1, 0, 1}
    y = torch.einsum("tbmnd,tbmjd,tbmje->tbmne", q, k, v).transpose(-2, -1).reshape(x.shape)
    assert torch.allclose(part(x), part.proj(LIF()(y)), atol=1e-6)
    assert part(x).std() > 0.05
    # one membrane: a neuron per sign would still hold the positive current and lose the negative spike
    assert part.v_neuron(torch.tensor([2.0, -2.0])).tolist() == [1, -1]


def test_mixers():
    x = torch.zeros(1, 1, 1, 3, 4)
    x[..., 1, 1] = 1
    unit = (1 + 1e-5) ** -0.5  # of a norm that has seen nothing
    shifted = torch.tensor([[1.0, 1, 1, 0]] * 3)
    assert torch.equal(MaxPoolMixer(1, 1, LIF)(x)[0, 0, 0], shifted)
    there = torch.tensor([[4.0, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]])  # tokens that lie in a pool
    assert torch.allclose(AvgPoolMixer(1, 1, LIF)(x)[0, 0, 0], shifted / there)
    depthwise = DepthwiseMixer(2, 1, LIF).eval()
    torch.nn.init.constant_(depthwise.proj.conv.weight, 0.5)
    torch.nn.init.constant_(depthwise.proj.conv.bias, 2.0)
    mixed = depthwise(torch.cat([x, 0 * x], 2))[0, 0]
    assert torch.allclose(mixed[0], unit * (0.5 * shifted + 2))
    assert torch.allclose(mixed[1], torch.full((3, 4), 2 * unit))  # channels see their own


@pytest.mark.parametrize(
    ("mixer", "stream"),
    [(MaxPoolMixer, [0.4, 0.4, 0.4]), (AvgPoolMixer, [-1.3, -1.2, -0.3]), (IdentityMixer, [-3, 0.4, -1])],
)
def test_pools_replace_the_stream(mixer, stream):
    """No neuron, no norm, no shortcut: what would fire at no pixel is pooled all the same."""
    mixed = block(MembraneShortcut, LIF, attn=mixer(1, 1, LIF)).eval()
    x = torch.tensor([-3, 0.4, -1]).view(1, 1, 1, 1, 3)
    assert mixed(x).flatten().tolist() == pytest.approx(stream)


def test_semm_adds_the_experts_that_a_token_chose(lively):
    x = spikes(T, B, C, H, W)
    part = lively(SEMM(C, M, LIF, experts=2, scale=1.0), x)
    q, k, v, routes = (LIF()(layer(x)) for layer in (part.q, part.k, part.v, part.router))
    assert (q.shape[2], k.shape[2], v.shape[2]) == (C, C // 2, C)
    total = torch.zeros_like(x)
    for e in range(2):
        own = q[:, :, e * C // 2 : (e + 1) * C // 2]
        y = torch.einsum("tbdn,tbdj,tbcj->tbcn", own.flatten(3), k.flatten(3), v.flatten(3)).reshape(x.shape)
        total += routes[:, :, e : e + 1] * LIF()(y)
    assert torch.allclose(part(x), part.proj(total), atol=1e-6)
    assert 0 < total.max() <= 2
    with pytest.raises(ValueError, match="experts 0 is below 1"):
        SEMM(C, M, LIF, experts=0)
    with pytest.raises(ValueError, match="dim 8 is not a multiple of experts 3"):
        SEMM(C, M, LIF, experts=3)


def test_semm_costs_what_ssa_does():
    assert sum(p.numel() for p in SEMM(384, 12, LIF, bias=True).parameters()) == 484_520  # q and v C wide, k C / 4
    assert sum(p.numel() for p in SSA(384, 12, LIF).parameters()) == 593_280


def test_semm_has_a_threshold_of_one_and_no_heads():
    """Two tokens of four ones: a current of 0.125 x 2 x 4 = 1 and a membrane of 0.5, which stays silent."""
    part = SEMM(4, 1, LIF, experts=1).eval()
    for layer in (part.q, part.k, part.v, part.router):
        torch.nn.init.zeros_(layer.conv.weight)
        torch.nn.init.constant_(layer.norm.bias, 4.0)  # everything fires
    currents = []
    part.attn_neuron.register_forward_pre_hook(lambda _, given: currents.append(given[0]))
    y = part(torch.ones(1, 1, 4, 1, 2))
    assert torch.equal(currents[0], torch.ones_like(currents[0]))
    assert torch.equal(y, part.proj(torch.zeros(1, 1, 4, 1, 2)))


def test_statten_attends_within_chunks(qkv):
    y = STAtten(C, M, LIF, chunk=2).attend(*qkv, H, W)  # 3 steps: a chunk of two, a chunk of one
    for steps in (slice(0, 2), slice(2, 3)):
        q, k, v = (x[steps] for x in qkv)
        wanted = torch.einsum("tbmnd,sbmjd,sbmje->tbmne", q, k, v) / H
        assert torch.allclose(y[steps], wanted)
    with pytest.raises(ValueError, match="chunk 0 is below 1"):
        STAtten(C, M, LIF, chunk=0)


def test_causal_attention_sees_the_mean_of_the_past(qkv):
    y = CausalSSA(C, M, LIF, scale=0.5).attend(*qkv, H, W)
    q, k, v = qkv
    for t in range(T):
        past = sum(k[s].transpose(-2, -1) @ v[s] for s in range(t + 1)) / (t + 1)
        assert torch.allclose(y[t], 0.5 * q[t] @ past)


def test_time_mix(qkv):
    part, ssa = TimeMixSSA(C, M, LIF, time_steps=3), SSA(C, M, LIF)
    assert torch.equal(part.attend(*qkv, H, W), ssa.attend(*qkv, H, W))  # the identity at first
    part.mix.data = torch.tensor([[1.0, 9, 9], [0.5, 1, 9], [0, 2, -1]])  # the nines look ahead, and do not count
    current = ssa.attend(*qkv, H, W)
    wanted = torch.stack([current[0], 0.5 * current[0] + current[1], 2 * current[1] - current[2]])
    assert torch.allclose(part.attend(*qkv, H, W), wanted)
    with pytest.raises(ValueError, match="weights for 3 steps and got 4: build it with time_steps=4"):
        part(spikes(4, B, C, H, W))


def test_tim_attends_at_every_step():
    """The released code's thresholds never reach its neurons: both have 1, and only the first step gets a query."""
    part = TIM(2, 1, LIF)
    torch.nn.init.zeros_(part.past.weight)
    torch.nn.init.constant_(part.past.bias, 10.0)
    ones = torch.ones(3, 1, 1, 2, 2)
    assert part.remembering(ones).mean((1, 2, 3, 4)).tolist() == [1, 1, 1]
    part.past_neuron, part.mix_neuron = LIF(), LIF()
    assert part.remembering(ones).mean((1, 2, 3, 4)).tolist() == [1, 0, 0]


def test_tim_by_hand():
    part = TIM(1, 1, LIF, alpha=0.5)
    torch.nn.init.zeros_(part.past.weight)
    torch.nn.init.zeros_(part.past.bias)
    part.past.weight.data[0, 0, 2] = 1.0  # the past is the last query, as it was
    q = torch.tensor([1.0, 1, 0, 1]).view(4, 1, 1, 1, 1)
    # step 1: past 1, mix 1, membrane 0.5 fires; 2: past 1, mix 0.5, 0.25; 3: past 0, mix 0.5, 0.375
    assert part.remembering(q).flatten().tolist() == [1, 1, 0, 0]
    q[2] = 1  # step 2: mix 1, fires; 3: past 1, mix 1, fires
    assert part.remembering(q).flatten().tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match=r"alpha 2 is not in \[0, 1\]"):
        TIM(1, 1, LIF, alpha=2)


@pytest.mark.parametrize(
    ("part", "windows"),
    [
        (WindowSSA, [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]),
        (DilatedWindowSSA, [[0, 2, 8, 10], [1, 3, 9, 11], [4, 6, 12, 14], [5, 7, 13, 15]]),
    ],
)
def test_windows_are_attentions_of_their_own(part, windows):
    ssa, windowed = SSA(C, M, LIF), part(C, M, LIF)
    assert windowed.windows(torch.arange(16).view(4, 4)).tolist() == windows
    qkv = [spikes(T, B, M, 16, D) for _ in range(3)]
    y = windowed.attend(*qkv, 4, 4)
    for window in windows:
        assert torch.equal(y[..., window, :], ssa.attend(*(x[..., window, :] for x in qkv), 2, 2))
    with pytest.raises(ValueError, match="a map of 3 x 4 does not split into 2 x 2 windows"):
        windowed(spikes(T, B, C, 3, 4))


def test_groups_see_their_own_channels():
    part = GroupSSA(C, M, LIF, groups=2).eval()
    x = spikes(T, B, C, H, W)
    changed = torch.cat([x[:, :, :4], 1 - x[:, :, 4:]], 2)
    for conv in (part.q, part.k, part.v):
        assert torch.equal(conv(x)[:, :, :4], conv(changed)[:, :, :4])
        assert not torch.equal(conv(x)[:, :, 4:], conv(changed)[:, :, 4:])
    assert part.proj.conv.groups == 1
    with pytest.raises(ValueError, match="num_heads 2 is not a multiple of groups 4"):
        GroupSSA(C, M, LIF, groups=4)


def test_pruning_keeps_the_busiest_tokens():
    q = heads([[1, 1], [1, 0], [0, 1], [0, 0]])
    k, v = heads([[1, 1], [1, 1], [0, 0], [0, 0]]), heads([[1, 1], [0, 0], [0, 0], [1, 0]])  # 6, 3, 1, 1 spikes
    pruned = PrunedSSA(2, 1, LIF, scale=1.0, keep=0.5).attend(q, k, v, 2, 2)[0, 0, 0]
    # of tokens 0 and 1: q0 meets k0 twice and k1 twice, v1 is silent
    assert pruned.tolist() == [[2, 2], [1, 1], [0, 0], [0, 0]]
    everyone = PrunedSSA(2, 1, LIF, scale=1.0, keep=1.0).attend(q, k, v, 2, 2)
    assert torch.equal(everyone, SSA(2, 1, LIF, scale=1.0).attend(q, k, v, 2, 2))
    tied = PrunedSSA(2, 1, LIF, scale=1.0, keep=0.75).attend(q, k, v, 2, 2)  # the third and fourth tie: both stay
    assert torch.equal(tied, everyone)
    with pytest.raises(ValueError, match=r"keep 0 is not in \(0, 1\]"):
        PrunedSSA(2, 1, LIF, keep=0)


def test_a_pruned_token_does_not_even_see_itself():
    """Token 1 is dropped: its query too, where the released code masks keys alone and leaves it 0.25."""
    q, k, v = (torch.ones(1, 1, 1, 2, 1) for _ in range(3))
    part = PrunedSSA(1, 1, LIF, keep=0.5)
    v[..., 1, 0] = 0  # so that token 0 is the busier
    assert part.attend(q, k, v, 1, 2).flatten().tolist() == [0.125, 0]


def test_what_is_frozen_are_the_neurons_too():
    part = FrozenSSA(C, M, PLIF)
    trained = {name.partition(".")[0] for name, p in part.named_parameters() if p.requires_grad}
    assert trained == {"v", "v_neuron", "attn_neuron", "proj"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: DepthwiseMixer(C, M, LIF, kernel_size=4),
        lambda: MaxPoolMixer(C, M, LIF, kernel_size=2),
        lambda: AvgPoolMixer(C, M, LIF, kernel_size=0),
        lambda: SepConv(C, C, LIF, kernel_size=2),
    ],
)
def test_kernels_have_a_middle(make):
    with pytest.raises(ValueError, match=r"kernel_size \d (is even|is below 1)"):
        make()


@pytest.mark.parametrize("part", [CausalSSA, FrozenSSA, PrunedSSA, TIM, WindowSSA, XNORSSA, LogXNOR, STAtten])
def test_what_a_variant_passes_on_reaches_the_attention(part):
    """It stands in the signature, too, which settings files are checked against."""
    made = part(C, M, LIF, bias=True, proj_bias=False, scale=0.25, attn_threshold=1.5, projection=RepConv)
    assert isinstance(made.q, RepConv)
    assert made.q.proj.conv.bias is not None
    assert made.proj.proj.conv.bias is None
    assert made.attn_neuron.v_threshold == 1.5
    assert "num_heads=2" in repr(made)
    assert "scale=0.25" in repr(made)
    assert {*inspect.signature(SSA).parameters} <= {*inspect.signature(part).parameters}
    with pytest.raises(TypeError, match="scales"):
        part(C, M, LIF, scales=0.25)


def test_settings_of_a_variant_are_checked_and_written_back():
    spec = {"part": "WindowSSA", "splits": 1, "attn_threshold": 1.0, "projection": "RepConv"}
    assert describe_part("attention", find_part("attention", spec)) == spec
    with pytest.raises(ValueError, match="WindowSSA takes no 'split': did you mean splits"):
        find_part("attention", {"part": "WindowSSA", "split": 1})


def test_a_variant_of_ones_own_says_for_itself_what_it_takes():
    class Own(WindowSSA):
        def __init__(self, dim, num_heads, neuron, *, rows=2, **settings):
            super().__init__(dim, num_heads, neuron, splits=rows, **settings)

    assert find_part("attention", {"part": Own, "rows": 1, "scale": 0.5})(C, M, LIF).splits == 1
