// Products of sparse spikes with weights, each with its neuron behind it.
//
// Spikes and counts are bytes, channels last. For every pixel that a band of outputs reads, a list says which channels
// are not zero. A tile of outputs keeps its sums, and over the steps its membrane, in registers; each entry of a list
// adds one short row of weights. No current is written unless the caller asks for it.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <cmath>
#include <thread>
#include <vector>
#if defined(__AVX512VBMI2__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX2__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif
constexpr int F = BYTES / 4;  // floats a vector
typedef float vf __attribute__((vector_size(BYTES)));
typedef int32_t vi __attribute__((vector_size(BYTES)));
typedef float vfu __attribute__((vector_size(BYTES), aligned(4), may_alias));
typedef uint16_t vu __attribute__((vector_size(BYTES)));       // 2 F lanes
typedef uint16_t vuh __attribute__((vector_size(BYTES / 2)));  // F lanes
typedef uint8_t vb __attribute__((vector_size(BYTES)));
typedef uint8_t vq __attribute__((vector_size(BYTES / 4)));   // F lanes

extern "C" int sf_lanes() { return F; }

enum { CURRENT = 0, LIF = 1, INTEGER = 2 };

// INTEGER emits round(clamp(h / threshold, 0, top)) and, with a membrane, resets softly; LIF is binary.
struct Neuron {
    int32_t kind, decay_input, soft, membrane, half_up, top;
    float tau, threshold, reset, gain;  // tau 0: forgets nothing; gain 0: none, else relu(gain h)
};

struct Shape {
    int32_t T, B, H, W, C, Ho, Wo, O, kh, kw, sh, sw, ph, pw, dh, dw;
    int32_t in_row, out_row;  // channels from one pixel to the next: C and O, unless these are a group of more
};

static inline vf all(float x) { return vf{} + x; }
static inline vf pick(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }

struct Lists {
    std::vector<uint16_t> channel;
    std::vector<uint8_t> count;
    std::vector<uint32_t> start;
};

// Appends the channels of one pixel that are not zero.
template <bool COUNTS>
static inline uint32_t list_row(const uint8_t* x, int C, uint16_t* out, uint8_t* counts) {
    uint32_t n = 0;
    int c = 0;
#if defined(__AVX512VBMI2__) && defined(__AVX512BW__)
    alignas(64) static const uint16_t numbers[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                                     16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    const __m512i ramp = _mm512_load_si512(numbers);
    for (; c + 64 <= C; c += 64) {
        __m512i v = _mm512_loadu_si512(x + c);
        uint64_t m = _mm512_test_epi8_mask(v, v);
        if (!m) continue;
        uint32_t lo = (uint32_t)m, hi = (uint32_t)(m >> 32);
        uint32_t k = __builtin_popcount(lo);
        __m512i base = _mm512_add_epi16(ramp, _mm512_set1_epi16((short)c));
        _mm512_storeu_si512(out + n, _mm512_maskz_compress_epi16(lo, base));
        _mm512_storeu_si512(out + n + k, _mm512_maskz_compress_epi16(hi, _mm512_add_epi16(base, _mm512_set1_epi16(32))));
        if (COUNTS) _mm512_storeu_si512(counts + n, _mm512_maskz_compress_epi8(m, v));
        n += k + __builtin_popcount(hi);
    }
#elif defined(__AVX2__)
    for (; c + 32 <= C; c += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i*)(x + c));
        uint32_t m = ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, _mm256_setzero_si256()));
        for (; m; m &= m - 1) {
            int k = c + __builtin_ctz(m);
            if (COUNTS) counts[n] = x[k];
            out[n++] = k;
        }
    }
#endif
    for (; c < C; ++c) {
        out[n] = c;
        if (COUNTS) counts[n] = x[c];
        n += x[c] != 0;
    }
    return n;
}

// One step of a vector of neurons: takes currents, moves the membrane, gives what fires. `inverse` is 1 / tau where exact.
static inline vf step(const Neuron& z, vf x, vf& v, float inverse) {
    vf h = x;
    if (z.membrane) {
        const vf rest = v - z.reset;
        if (z.tau == 0)
            h = v + x;
        else if (z.decay_input)
            h = v + (inverse > 0 ? (x - rest) * inverse : (x - rest) / z.tau);
        else
            h = v - (inverse > 0 ? rest * inverse : rest / z.tau) + x;
    }
    if (z.kind == INTEGER) {
        vf n = h / z.threshold;
        n = pick(n > 0, n, all(0.f));
        n = pick(n < (float)z.top, n, all((float)z.top));
        const vf even = (n + 8388608.f) - 8388608.f;
        if (z.half_up) {
            const vf up = n + .5f, near = (up + 8388608.f) - 8388608.f;  // floor(n + 1/2)
            n = near - (vf)((vi)all(1.f) & (near > up));
        } else {
            n = even;
        }
        v = h - z.threshold * n;
        return n;
    }
    if (z.gain != 0) {
        h *= z.gain;
        h = pick(h > 0, h, all(0.f));
    }
    const vi fires = h >= z.threshold;
    const vf one = (vf)((vi)all(1.f) & fires);
    v = z.soft ? h - z.threshold * one : pick(fires, all(z.reset), h);
    return one;
}

static inline float exact_inverse(float tau) {
    int exponent;
    return tau > 0 && std::frexp(tau, &exponent) == 0.5f ? 1 / tau : 0;
}

static inline void store_bytes(vf s, uint8_t* out, int n) {
#if defined(__AVX512F__)
    __m128i b = _mm512_cvtepi32_epi8(_mm512_cvttps_epi32((__m512)s));
    if (n >= F) { _mm_storeu_si128((__m128i*)out, b); return; }
    alignas(16) uint8_t t[16];
    _mm_store_si128((__m128i*)t, b);
    std::memcpy(out, t, n);
#else
    vi i = __builtin_convertvector(s, vi);
    vq q = __builtin_convertvector(i, vq);
    std::memcpy(out, &q, std::min(n, F));
#endif
}

// The sums of one tile: NV vectors of fp32 weights, or NV / 2 of int16 sums of int8 weights.
template <int NV, bool COUNTS>
static inline void add_rows(const float* w, const uint16_t* e, const uint8_t* k, uint32_t n, vf* acc) {
    for (uint32_t i = 0; i < n; ++i) {
        const vf* row = (const vf*)(w + (size_t)e[i] * NV * F);
        if (COUNTS) {
            float c = k[i];
            for (int j = 0; j < NV; ++j) acc[j] += c * row[j];
        } else {
            for (int j = 0; j < NV; ++j) acc[j] += row[j];
        }
    }
}

// int8 weights are stored plus 128, so that a 16-bit lane holds two unsigned outputs. Adding whole lanes to one sum and
// their upper halves to another gives both, for lower = whole - 256 upper (mod 2^16), while no sum passes 2^16: 257 rows.
constexpr int ROWS = 257;

template <int NV>
static inline void widen(vu* whole, vu* upper, int rows, vi* wide) {
    for (int j = 0; j < NV / 4; ++j) {
        vu lower = whole[j] - (upper[j] << 8);
        vuh h[4];
        std::memcpy(h, &lower, sizeof lower);
        std::memcpy(h + 2, &upper[j], sizeof lower);
        for (int i = 0; i < 4; ++i) wide[4 * j + i] += __builtin_convertvector(h[i], vi) - 128 * rows;
        whole[j] = upper[j] = vu{};
    }
}

template <int NV, bool COUNTS>
static inline void add_rows(const uint8_t* w, const uint16_t* e, const uint8_t* k, uint32_t n, vu* whole, vu* upper,
                            vi* wide, int& rows) {
    uint32_t i = 0;
    while (i < n) {
        uint32_t end = n;
        if (COUNTS) {
            if (rows + k[i] > ROWS) widen<NV>(whole, upper, rows, wide), rows = 0;
            end = i + 1, rows += k[i];
        } else {
            if (rows == ROWS) widen<NV>(whole, upper, rows, wide), rows = 0;
            end = std::min<uint32_t>(n, i + ROWS - rows), rows += end - i;
        }
        for (; i < end; ++i) {
            const vu* row = (const vu*)(w + (size_t)e[i] * NV * F);
            for (int j = 0; j < NV / 4; ++j) {
                vu r = row[j], u = r >> 8;
                if (COUNTS) r *= (uint16_t)k[i], u *= (uint16_t)k[i];
                whole[j] += r, upper[j] += u;
            }
        }
    }
}

template <typename WT, int NV, bool COUNTS>
static void run_band(const Shape& s, const Neuron& z, const uint8_t* x, const WT* w, const float* scale, const float* bias,
                     const float* residual, uint8_t* spikes, float* current, int b, int from, int to, Lists& lists) {
    const int TO = NV * F, tiles = (s.O + TO - 1) / TO;
    const int first = std::max(0, from * s.sh - s.ph), last = std::min(s.H, (to - 1) * s.sh - s.ph + (s.kh - 1) * s.dh + 1);
    const int rows = std::max(0, last - first), pixels = rows * s.W;
    lists.start.resize((size_t)s.T * pixels + 1);
    size_t need = (size_t)s.T * pixels * s.C + 64;
    if (lists.channel.size() < need) lists.channel.resize(need), lists.count.resize(COUNTS ? need : 0);
    if (COUNTS && lists.count.size() < need) lists.count.resize(need);
    uint32_t n = 0;
    for (int t = 0; t < s.T; ++t) {
        const uint8_t* image = x + (((size_t)t * s.B + b) * s.H + first) * s.W * s.in_row;
        for (int p = 0; p < pixels; ++p) {
            lists.start[(size_t)t * pixels + p] = n;
            n += list_row<COUNTS>(image + (size_t)p * s.in_row, s.C, &lists.channel[n], COUNTS ? &lists.count[n] : nullptr);
        }
    }
    lists.start[(size_t)s.T * pixels] = n;
    const float inv = exact_inverse(z.tau);
    const uint32_t* start = lists.start.data();
    const uint16_t* channel = lists.channel.data();
    const uint8_t* counts = lists.count.data();
    for (int tile = 0; tile < tiles; ++tile) {
        const WT* wt = w + (size_t)tile * s.kh * s.kw * s.C * TO;
        const int o = tile * TO, wide_o = std::min(TO, s.O - o);
        vf b0[NV], sc[NV];
        for (int j = 0; j < NV; ++j) b0[j] = *(const vfu*)(bias + o + j * F), sc[j] = *(const vfu*)(scale + o + j * F);
        for (int i = from; i < to; ++i)
            for (int q = 0; q < s.Wo; ++q) {
                vf v[NV];
                for (int j = 0; j < NV; ++j) v[j] = all(z.reset);
                for (int t = 0; t < s.T; ++t) {
                    vf acc[NV];
                    const uint32_t* st = start + (size_t)t * pixels;
                    if constexpr (sizeof(WT) == 1) {
                        vu whole[NV / 4] = {}, upper[NV / 4] = {};
                        vi wide[NV] = {};
                        int rows = 0;
                        for (int ky = 0; ky < s.kh; ++ky) {
                            int y = i * s.sh - s.ph + ky * s.dh;
                            if (y < 0 || y >= s.H) continue;
                            for (int kx = 0; kx < s.kw; ++kx) {
                                int xx = q * s.sw - s.pw + kx * s.dw;
                                if (xx < 0 || xx >= s.W) continue;
                                int p = (y - first) * s.W + xx;
                                add_rows<NV, COUNTS>(wt + (size_t)(ky * s.kw + kx) * s.C * TO, channel + st[p],
                                                     counts + st[p], st[p + 1] - st[p], whole, upper, wide, rows);
                            }
                        }
                        widen<NV>(whole, upper, rows, wide);
                        for (int j = 0; j < NV; ++j) acc[j] = __builtin_convertvector(wide[j], vf) * sc[j] + b0[j];
                    } else {
                        for (int j = 0; j < NV; ++j) acc[j] = b0[j];
                        for (int ky = 0; ky < s.kh; ++ky) {
                            int y = i * s.sh - s.ph + ky * s.dh;
                            if (y < 0 || y >= s.H) continue;
                            for (int kx = 0; kx < s.kw; ++kx) {
                                int xx = q * s.sw - s.pw + kx * s.dw;
                                if (xx < 0 || xx >= s.W) continue;
                                int p = (y - first) * s.W + xx;
                                add_rows<NV, COUNTS>(wt + (size_t)(ky * s.kw + kx) * s.C * TO, channel + st[p],
                                                     counts + st[p], st[p + 1] - st[p], acc);
                            }
                        }
                    }
                    const size_t at = ((((size_t)t * s.B + b) * s.Ho + i) * s.Wo + q) * s.out_row + o;
                    for (int j = 0; j < NV && j * F < wide_o; ++j) {
                        const int lanes = std::min(F, wide_o - j * F);
                        if (residual) {
                            if (lanes == F) acc[j] += *(const vfu*)(residual + at + j * F);
                            else for (int l = 0; l < lanes; ++l) acc[j][l] += residual[at + j * F + l];
                        }
                        if (current) std::memcpy(current + at + j * F, &acc[j], lanes * 4);
                        if (z.kind != CURRENT) store_bytes(step(z, acc[j], v[j], inv), spikes + at + j * F, lanes);
                    }
                }
            }
    }
}

template <typename Work>
static void share(int tasks, int threads, Work work) {
    threads = std::min(threads, tasks);
    if (threads <= 1) {
        work(0, tasks);
        return;
    }
    std::vector<std::thread> others;
    for (int i = 1; i < threads; ++i)
        others.emplace_back(work, (int64_t)tasks * i / threads, (int64_t)tasks * (i + 1) / threads);
    work(0, tasks / threads);
    for (auto& t : others) t.join();
}

template <typename WT, int NV, bool COUNTS>
static void run(const Shape& s, const Neuron& z, const uint8_t* x, const WT* w, const float* scale, const float* bias,
                const float* residual, uint8_t* spikes, float* current, int threads, int band) {
    const int bands = (s.Ho + band - 1) / band;
    share(s.B * bands, threads, [&](int from, int to) {
        Lists lists;
        for (int task = from; task < to; ++task) {
            int b = task / bands, i = task % bands * band;
            run_band<WT, NV, COUNTS>(s, z, x, w, scale, bias, residual, spikes, current, b, i, std::min(s.Ho, i + band), lists);
        }
    });
}

// x: T B H W C bytes; weights: tiles of `nv` vectors of outputs, [tile][ky][kx][C][nv F]; bias, scale: padded to tiles.
extern "C" void sf_conv(const Shape* s, const Neuron* z, const uint8_t* x, const void* w, int eight, int counts, int nv,
                        const float* scale, const float* bias, const float* residual, uint8_t* spikes, float* current,
                        int threads, int band) {
#define GO(WT, NV)                                                                                                        \
    return counts ? run<WT, NV, true>(*s, *z, x, (const WT*)w, scale, bias, residual, spikes, current, threads, band)     \
                  : run<WT, NV, false>(*s, *z, x, (const WT*)w, scale, bias, residual, spikes, current, threads, band)
    if (eight) {
        if (nv == 4) GO(uint8_t, 4);
        if (nv == 8) GO(uint8_t, 8);
        GO(uint8_t, 16);
    }
    if (nv == 1) GO(float, 1);
    if (nv == 2) GO(float, 2);
    if (nv == 4) GO(float, 4);
    GO(float, 8);
#undef GO
}

// Neurons behind any current: T steps of n numbers, steps `stride` apart (0: the same current at every step).
extern "C" void sf_neuron(const Neuron* neuron, const float* x, int64_t T, int64_t n, int64_t stride, uint8_t* spikes,
                          int threads) {
    const Neuron z = *neuron;
    const float inverse = exact_inverse(z.tau);
    const int64_t piece = 1 << 14;
    share((n + piece - 1) / piece, n * T < piece * 8 ? 1 : threads, [&](int from, int to) {
        for (int64_t i = from * piece; i < std::min(n, to * piece); i += F) {
            const int lanes = std::min<int64_t>(F, n - i);
            vf v = all(z.reset);
            for (int64_t t = 0; t < T; ++t) {
                vf current = {};
                if (lanes == F) current = *(const vfu*)(x + t * stride + i);
                else std::memcpy(&current, x + t * stride + i, lanes * 4);
                store_bytes(step(z, current, v, inverse), spikes + t * n + i, lanes);
            }
        }
    });
}

// Depthwise convolution of bytes, one channel to a lane; weights [ky][kx][C], padded to whole vectors.
extern "C" void sf_depthwise(const Shape* shape, const Neuron* neuron, const uint8_t* x, const float* w, const float* bias,
                             const float* residual, uint8_t* spikes, float* current, int threads) {
    const Shape s = *shape;
    const Neuron z = *neuron;
    const float inverse = exact_inverse(z.tau);
    const int width = (s.C + F - 1) / F * F;
    share(s.B * s.Ho, threads, [&](int from, int to) {
        for (int task = from; task < to; ++task) {
            const int b = task / s.Ho, i = task % s.Ho;
            for (int q = 0; q < s.Wo; ++q)
                for (int c = 0; c < s.C; c += F) {
                    const int lanes = std::min(F, s.C - c);
                    vf v = all(z.reset);
                    for (int t = 0; t < s.T; ++t) {
                        vf acc = *(const vfu*)(bias + c);
                        for (int ky = 0; ky < s.kh; ++ky) {
                            const int y = i * s.sh - s.ph + ky * s.dh;
                            if (y < 0 || y >= s.H) continue;
                            for (int kx = 0; kx < s.kw; ++kx) {
                                const int xx = q * s.sw - s.pw + kx * s.dw;
                                if (xx < 0 || xx >= s.W) continue;
                                vq bytes = {};
                                std::memcpy(&bytes, x + ((((size_t)t * s.B + b) * s.H + y) * s.W + xx) * s.C + c, lanes);
                                acc += __builtin_convertvector(__builtin_convertvector(bytes, vi), vf) *
                                       *(const vfu*)(w + (size_t)(ky * s.kw + kx) * width + c);
                            }
                        }
                        const size_t at = ((((size_t)t * s.B + b) * s.Ho + i) * s.Wo + q) * s.C + c;
                        if (residual) for (int l = 0; l < lanes; ++l) acc[l] += residual[at + l];
                        if (current) std::memcpy(current + at, &acc, lanes * 4);
                        if (z.kind != CURRENT) store_bytes(step(z, acc, v, inverse), spikes + at, lanes);
                    }
                }
        }
    });
}

// The largest of every window of bytes: N images of H x W x C.
extern "C" void sf_max_pool(const Shape* shape, const uint8_t* x, uint8_t* y, int threads) {
    const Shape s = *shape;
    share(s.B * s.Ho, threads, [&](int from, int to) {
        for (int task = from; task < to; ++task) {
            const int b = task / s.Ho, i = task % s.Ho;
            for (int q = 0; q < s.Wo; ++q) {
                uint8_t* out = y + (((size_t)b * s.Ho + i) * s.Wo + q) * s.C;
                for (int c = 0; c < s.C; c += BYTES) {
                    const int bytes = std::min(BYTES, s.C - c);
                    vb most = {};
                    for (int ky = 0; ky < s.kh; ++ky) {
                        const int yy = i * s.sh - s.ph + ky * s.dh;
                        if (yy < 0 || yy >= s.H) continue;
                        for (int kx = 0; kx < s.kw; ++kx) {
                            const int xx = q * s.sw - s.pw + kx * s.dw;
                            if (xx < 0 || xx >= s.W) continue;
                            const uint8_t* in = x + (((size_t)b * s.H + yy) * s.W + xx) * s.C + c;
                            vb here = {};
                            if (bytes == BYTES) std::memcpy(&here, in, BYTES);
                            else std::memcpy(&here, in, bytes);
                            most = most > here ? most : here;
                        }
                    }
                    std::memcpy(out + c, &most, bytes);
                }
            }
        }
    });
}

// q (k^T v) of bytes, tokens in rows of M heads side by side, of D channels in q and k and E in v: T, B, N, M, D or E.
// Whole numbers in 16 bits as long as N D top^3 < 2^16, which the caller checks; out is scale times that, behind a neuron
// or not.
extern "C" void sf_attention(int T, int B, int N, int M, int D, int E, const uint8_t* q, const uint8_t* k, const uint8_t* v,
                             float scale, const Neuron* neuron, uint8_t* spikes, float* current, int threads) {
    const Neuron z = *neuron;
    const float inverse = exact_inverse(z.tau);
    const int C = M * D, CV = M * E, pad = (E + 2 * F - 1) / (2 * F) * 2 * F;  // of 16-bit lanes
    share(B * M, threads, [&](int from, int to) {
        std::vector<uint16_t> storage((size_t)(D + 1) * pad + 4 * F), list(D + 64);
        std::vector<uint8_t> count(D + 64);
        std::vector<float> membrane((size_t)N * pad);
        uint16_t* kv = storage.data();
        uint16_t* row = kv + (size_t)D * pad;
        for (int task = from; task < to; ++task) {
            const int b = task / M, m = task % M;
            std::fill(membrane.begin(), membrane.end(), z.reset);
            for (int t = 0; t < T; ++t) {
                const size_t first = ((size_t)t * B + b) * N * C + (size_t)m * D;
                const size_t first_v = ((size_t)t * B + b) * N * CV + (size_t)m * E;
                std::fill(kv, kv + (size_t)D * pad, 0);
                for (int n = 0; n < N; ++n) {
                    const uint32_t ones = list_row<true>(k + first + (size_t)n * C, D, list.data(), count.data());
                    if (!ones) continue;
                    const uint8_t* values = v + first_v + (size_t)n * CV;
                    for (uint32_t i = 0; i < ones; ++i) {
                        uint16_t* sum = kv + (size_t)list[i] * pad;
                        const uint16_t c = count[i];
                        for (int d = 0; d < E; ++d) sum[d] += c * values[d];
                    }
                }
                for (int n = 0; n < N; ++n) {
                    const size_t at = first_v + (size_t)n * CV;
                    const uint32_t ones = list_row<true>(q + first + (size_t)n * C, D, list.data(), count.data());
                    std::fill(row, row + pad, 0);
                    for (uint32_t i = 0; i < ones; ++i) {
                        const uint16_t* sum = kv + (size_t)list[i] * pad;
                        const uint16_t c = count[i];
                        for (int d = 0; d < pad; ++d) row[d] += c * sum[d];
                    }
                    for (int d = 0; d < E; d += F) {
                        const int lanes = std::min(F, E - d);
                        vf x = {};
                        for (int l = 0; l < lanes; ++l) x[l] = row[d + l] * scale;
                        if (current) std::memcpy(current + at + d, &x, lanes * 4);
                        if (z.kind == CURRENT) continue;
                        float* place = membrane.data() + (size_t)n * pad + d;
                        vf held = *(const vfu*)place;
                        store_bytes(step(z, x, held, inverse), spikes + at + d, lanes);
                        *(vfu*)place = held;
                    }
                }
            }
        }
    });
}
