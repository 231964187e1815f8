// Products of sparse spikes with weights, each with its neuron after it.
//
// Spikes and counts are bytes, channels last. For every pixel that a band of outputs reads, a list says which channels
// are not zero. A tile of outputs keeps its sums, and over the steps its membrane, in registers; each entry of a list
// adds one short row of weights. No current is written unless the caller asks for it.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <cmath>
#include <exception>
#include <new>
#include <stdexcept>
#include <system_error>
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
typedef uint16_t vuhu __attribute__((vector_size(BYTES / 2), aligned(2), may_alias));
typedef uint8_t vqu __attribute__((vector_size(BYTES / 4), aligned(1), may_alias));

extern "C" int sf_lanes() { return F; }

// How a call ended, which build.py tells. An exception that left a C function or a thread would end the process.
enum { DONE = 0, NO_MEMORY = 1, NO_THREADS = 2, FAILED = 3 };

// The status that stands for the exception that is being handled. Every C function ends with it.
static int status() {
    try {
        throw;
    } catch (const std::bad_alloc&) {
        return NO_MEMORY;
    } catch (const std::length_error&) {  // longer than any memory
        return NO_MEMORY;
    } catch (const std::system_error&) {
        return NO_THREADS;
    } catch (...) {
        return FAILED;
    }
}

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

// The first `lanes` of a vector, to and from memory. Whole vectors have a branch of their own: a memcpy of a length that
// is not known is a call, and what it reads stays in memory instead of a register.
static inline vf load(const float* x, int lanes) {
    if (lanes == F) return *(const vfu*)x;
    vf v = {};
    std::memcpy(&v, x, lanes * 4);
    return v;
}

static inline vq load(const uint8_t* x, int lanes) {
    if (lanes == F) return *(const vqu*)x;
    vq v = {};
    std::memcpy(&v, x, lanes);
    return v;
}

static inline void store(float* y, vf v, int lanes) {
    if (lanes == F) *(vfu*)y = v;
    else std::memcpy(y, &v, lanes * 4);
}

static inline void store(uint8_t* y, vq v, int lanes) {
    if (lanes == F) *(vqu*)y = v;
    else std::memcpy(y, &v, lanes);
}

static inline float exact_inverse(float tau) {
    int exponent;
    return tau > 0 && std::frexp(tau, &exponent) == 0.5f ? 1 / tau : 0;
}

static inline void store_bytes(vf s, uint8_t* out, int lanes) {
#if defined(__AVX512F__)
    store(out, (vq)_mm512_cvtepi32_epi8(_mm512_cvttps_epi32((__m512)s)), lanes);
#elif defined(__AVX2__)
    const __m256i whole = _mm256_cvttps_epi32((__m256)s);
    const __m128i half = _mm_packus_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    const __m128i quarter = _mm_packus_epi16(half, half);
    vq q;
    std::memcpy(&q, &quarter, sizeof q);
    store(out, q, lanes);
#else
    store(out, __builtin_convertvector(__builtin_convertvector(s, vi), vq), lanes);
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
                        if (current) store(current + at + j * F, acc[j], lanes);
                        if (z.kind != CURRENT) store_bytes(step(z, acc[j], v[j], inv), spikes + at + j * F, lanes);
                    }
                }
            }
    }
}

// Shares tasks among threads, of which this is one. What is thrown in any of them is thrown here once all have ended.
template <typename Work>
static void share(int tasks, int threads, Work work) {
    threads = std::min(threads, tasks);
    if (threads <= 1) {
        work(0, tasks);
        return;
    }
    std::vector<std::exception_ptr> thrown(threads);
    const auto part = [&](int i) {
        try {
            work((int64_t)tasks * i / threads, (int64_t)tasks * (i + 1) / threads);
        } catch (...) {
            thrown[i] = std::current_exception();
        }
    };
    std::vector<std::thread> others;
    others.reserve(threads - 1);
    try {
        for (int i = 1; i < threads; ++i) others.emplace_back(part, i);
    } catch (...) {
        thrown[0] = std::current_exception();
    }
    if (!thrown[0]) part(0);
    for (auto& t : others) t.join();
    for (const auto& e : thrown)
        if (e) std::rethrow_exception(e);
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
extern "C" int sf_conv(const Shape* s, const Neuron* z, const uint8_t* x, const void* w, int eight, int counts, int nv,
                       const float* scale, const float* bias, const float* residual, uint8_t* spikes, float* current,
                       int threads, int band) try {
#define GO(WT, NV)                                                                                                        \
    return (counts ? run<WT, NV, true>(*s, *z, x, (const WT*)w, scale, bias, residual, spikes, current, threads, band)    \
                   : run<WT, NV, false>(*s, *z, x, (const WT*)w, scale, bias, residual, spikes, current, threads, band)), \
           DONE
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
} catch (...) {
    return status();
}

// Neurons after any current: T steps of n numbers, steps `stride` apart (0: the same current at every step).
extern "C" int sf_neuron(const Neuron* neuron, const float* x, int64_t T, int64_t n, int64_t stride, uint8_t* spikes,
                         int threads) try {
    const Neuron z = *neuron;
    const float inverse = exact_inverse(z.tau);
    const int64_t piece = 1 << 14;
    share((n + piece - 1) / piece, n * T < piece * 8 ? 1 : threads, [&](int from, int to) {
        for (int64_t i = from * piece; i < std::min(n, to * piece); i += F) {
            const int lanes = std::min<int64_t>(F, n - i);
            vf v = all(z.reset);
            for (int64_t t = 0; t < T; ++t) {
                store_bytes(step(z, load(x + t * stride + i, lanes), v, inverse), spikes + t * n + i, lanes);
            }
        }
    });
    return DONE;
} catch (...) {
    return status();
}

// Depthwise convolution of bytes, one channel to a lane; weights [ky][kx][C], padded to whole vectors.
extern "C" int sf_depthwise(const Shape* shape, const Neuron* neuron, const uint8_t* x, const float* w, const float* bias,
                            const float* residual, uint8_t* spikes, float* current, int threads) try {
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
                                const vq bytes = load(x + ((((size_t)t * s.B + b) * s.H + y) * s.W + xx) * s.C + c, lanes);
                                acc += __builtin_convertvector(__builtin_convertvector(bytes, vi), vf) *
                                       *(const vfu*)(w + (size_t)(ky * s.kw + kx) * width + c);
                            }
                        }
                        const size_t at = ((((size_t)t * s.B + b) * s.Ho + i) * s.Wo + q) * s.C + c;
                        if (residual) for (int l = 0; l < lanes; ++l) acc[l] += residual[at + l];
                        if (current) store(current + at, acc, lanes);
                        if (z.kind != CURRENT) store_bytes(step(z, acc, v, inverse), spikes + at, lanes);
                    }
                }
        }
    });
    return DONE;
} catch (...) {
    return status();
}

// The largest of every window of bytes: N images of H x W x C.
extern "C" int sf_max_pool(const Shape* shape, const uint8_t* x, uint8_t* y, int threads) try {
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
                    if (bytes == BYTES) std::memcpy(out + c, &most, BYTES);
                    else std::memcpy(out + c, &most, bytes);
                }
            }
        }
    });
    return DONE;
} catch (...) {
    return status();
}

// q (k^T v) of bytes, tokens in rows of M heads side by side, of D channels in q and k and E in v: T, B, N, M, D or E.
// Whole numbers in 16 bits as long as N D top^3 < 2^16, which the caller checks; out is scale times that, after a neuron
// or not.
extern "C" int sf_attention(int T, int B, int N, int M, int D, int E, const uint8_t* q, const uint8_t* k, const uint8_t* v,
                            float scale, const Neuron* neuron, uint8_t* spikes, float* current, int threads) try {
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
                        if (current) store(current + at + d, x, lanes);
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
    return DONE;
} catch (...) {
    return status();
}

// ---- Training ----

// fp32 numbers as bytes; how many are not zero.
extern "C" int sf_bytes(const float* x, int64_t n, uint8_t* out, int64_t* nonzero) try {
    int64_t ones = 0;
    for (int64_t i = 0; i < n;) {
        const int64_t end = std::min(n, i + 65536);
        int32_t some = 0;
        for (int64_t k = i; k < end; ++k) {
            const int32_t value = (int32_t)x[k];
            out[k] = (uint8_t)value;
            some += value != 0;
        }
        ones += some, i = end;
    }
    *nonzero = ones;
    return DONE;
} catch (...) {
    return status();
}

// Where each input channel fired, for one block of pixels: places in the block's padded map of output gradients.
struct Fired {
    std::vector<uint32_t> start;   // C + 1
    std::vector<uint16_t> place;
    std::vector<uint8_t> count;
};

// Images from `first`, `images` of them, and of each the rows from `top`, `rows` of them.
struct Block { int first, images, top, rows; };

template <bool COUNTS>
static void list_fired(const Shape& s, const uint8_t* x, const Block& b, int padded_w, int padded_h, Fired& fired) {
    std::vector<uint16_t> channel(s.C + 64);
    std::vector<uint8_t> count(s.C + 64);
    std::vector<uint32_t>& start = fired.start;
    start.assign(s.C + 1, 0);
    for (int n = 0; n < b.images; ++n)  // counted first, so that the lists lie without gaps
        for (int y = 0; y < b.rows; ++y) {
            const uint8_t* row = x + ((size_t)(b.first + n) * s.H + b.top + y) * s.W * s.in_row;
            for (int q = 0; q < s.W; ++q, row += s.in_row)
                for (int c = 0; c < s.C; ++c) start[c + 1] += row[c] != 0;
        }
    for (int c = 0; c < s.C; ++c) start[c + 1] += start[c];
    fired.place.resize(start[s.C]);
    if (COUNTS) fired.count.resize(start[s.C]);
    std::vector<uint32_t> next(start.begin(), start.end() - 1);
    for (int n = 0; n < b.images; ++n)
        for (int y = 0; y < b.rows; ++y) {
            const uint8_t* row = x + ((size_t)(b.first + n) * s.H + b.top + y) * s.W * s.in_row;
            for (int q = 0; q < s.W; ++q, row += s.in_row) {
                const uint32_t ones = list_row<COUNTS>(row, s.C, channel.data(), count.data());
                const uint16_t place = (n * padded_h + y) * padded_w + q;
                for (uint32_t i = 0; i < ones; ++i) {
                    const uint32_t at = next[channel[i]]++;
                    fired.place[at] = place;
                    if (COUNTS) fired.count[at] = count[i];
                }
            }
        }
}

// Adds to K taps' sums of one channel the gradients of the places where it fired.
template <int NV, int K, bool COUNTS>
static inline void add_fired(const float* map, int step, const uint16_t* place, const uint8_t* count, uint32_t n,
                             float* const* sums) {
    vf acc[K][NV];
    for (int k = 0; k < K; ++k)
        for (int j = 0; j < NV; ++j) acc[k][j] = ((const vf*)sums[k])[j];
    for (uint32_t i = 0; i < n; ++i) {
        const float* at = map + (size_t)place[i] * NV * F;
        for (int k = 0; k < K; ++k) {
            const vf* row = (const vf*)(at - (std::ptrdiff_t)k * step);
            if (COUNTS) {
                const float c = count[i];
                for (int j = 0; j < NV; ++j) acc[k][j] += c * row[j];
            } else {
                for (int j = 0; j < NV; ++j) acc[k][j] += row[j];
            }
        }
    }
    for (int k = 0; k < K; ++k)
        for (int j = 0; j < NV; ++j) ((vf*)sums[k])[j] = acc[k][j];
}

// The sums of one tile of outputs over all blocks, in their order.
template <int NV, bool COUNTS>
static void grad_tile(const Shape& s, const std::vector<Block>& blocks, const std::vector<Fired>& fired, const float* g,
                      float* out, int tile, std::vector<float>& room) {
    constexpr int TO = NV * F;
    const int o = tile * TO, wide = std::min(TO, s.O - o), taps = s.kh * s.kw;
    const int more_h = (s.kh - 1) * s.dh, padded_w = s.W + (s.kw - 1) * s.dw;
    const int up = more_h - s.ph, left = (s.kw - 1) * s.dw - s.pw;
    float* sums = out + (size_t)tile * taps * s.C * TO;
    std::fill(sums, sums + (size_t)taps * s.C * TO, 0.f);
    for (size_t block = 0; block < blocks.size(); ++block) {
        const Block& b = blocks[block];
        const int padded_h = b.rows + more_h;
        const size_t need = (size_t)b.images * padded_h * padded_w * TO + 2 * F;
        if (room.size() < need) room.resize(need);
        float* map = room.data() + (-(intptr_t)room.data() & (BYTES - 1)) / 4;
        for (int n = 0; n < b.images; ++n)
            for (int j = 0; j < padded_h; ++j) {
                const int i = b.top + j - up;
                float* to = map + (size_t)(n * padded_h + j) * padded_w * TO;
                for (int q = 0; q < padded_w; ++q, to += TO) {
                    const int p = q - left;
                    const bool inside = i >= 0 && i < s.Ho && p >= 0 && p < s.Wo;
                    const float* from = g + (((size_t)(b.first + n) * s.Ho + i) * s.Wo + p) * s.out_row + o;
                    if (inside && wide == TO) for (int v = 0; v < NV; ++v) ((vf*)to)[v] = *(const vfu*)(from + v * F);
                    else for (int l = 0; l < TO; ++l) to[l] = inside && l < wide ? from[l] : 0.f;
                }
            }
        const Fired& f = fired[block];
        for (int c = 0; c < s.C; ++c) {
            const uint32_t begin = f.start[c], ones = f.start[c + 1] - begin;
            if (!ones) continue;
            const uint16_t* place = f.place.data() + begin;
            const uint8_t* count = f.count.data() + (COUNTS ? begin : 0);
            for (int ky = 0; ky < s.kh; ++ky) {
                const float* line = map + ((size_t)(s.kh - 1 - ky) * s.dh * padded_w + (size_t)(s.kw - 1) * s.dw) * TO;
                float* to = sums + ((size_t)c * taps + (size_t)ky * s.kw) * TO;
                int kx = 0;
                if constexpr (NV <= 4)
                    for (; kx + 3 <= s.kw; kx += 3) {
                        float* three[3] = {to + kx * TO, to + (kx + 1) * TO, to + (kx + 2) * TO};
                        add_fired<NV, 3, COUNTS>(line - (std::ptrdiff_t)kx * s.dw * TO, s.dw * TO, place, count, ones, three);
                    }
                for (; kx < s.kw; ++kx) {
                    float* one[1] = {to + kx * TO};
                    add_fired<NV, 1, COUNTS>(line - (std::ptrdiff_t)kx * s.dw * TO, 0, place, count, ones, one);
                }
            }
        }
    }
}

template <int NV, bool COUNTS>
static void weight_grad(const Shape& s, const uint8_t* x, const float* g, float* out, int together, int threads) {
    const int more_h = (s.kh - 1) * s.dh, padded_w = s.W + (s.kw - 1) * s.dw;
    const int tiles = (s.O + NV * F - 1) / (NV * F);
    const int rows = std::min(s.H, std::max(1, together / s.W)), images = std::max(1, together / (s.W * s.H));
    std::vector<Block> blocks;
    for (int first = 0; first < s.B; first += images)
        for (int top = 0; top < s.H; top += rows)
            blocks.push_back({first, std::min(images, s.B - first), top, std::min(rows, s.H - top)});
    std::vector<Fired> fired(blocks.size());
    share(blocks.size(), threads, [&](int from, int to) {
        for (int i = from; i < to; ++i)
            list_fired<COUNTS>(s, x, blocks[i], padded_w, blocks[i].rows + more_h, fired[i]);
    });
    share(tiles, threads, [&](int from, int to) {
        std::vector<float> room;
        for (int tile = from; tile < to; ++tile) grad_tile<NV, COUNTS>(s, blocks, fired, g, out, tile, room);
    });
}

// The gradient of a convolution's weight, stride 1, from bytes x (B images of H W C) and the gradient of its output
// (B Ho Wo O): [tile][C][ky][kx][nv F]. Blocks of about `together` pixels; their padded places fit 16 bits, which the
// caller checks. Sums run over pixels in one order, whatever the number of threads.
extern "C" int sf_weight_grad(const Shape* s, const uint8_t* x, const float* g, float* out, int counts, int nv,
                              int together, int threads) try {
#define GO(NV)                                                                                                            \
    return (counts ? weight_grad<NV, true>(*s, x, g, out, together, threads)                                              \
                   : weight_grad<NV, false>(*s, x, g, out, together, threads)),                                           \
           DONE
    if (nv == 1) GO(1);
    if (nv == 2) GO(2);
    if (nv == 4) GO(4);
    GO(8);
#undef GO
} catch (...) {
    return status();
}

// Leaky integrate-and-fire of T steps of n numbers in fp32 or bf16, as training has it: a forward, and a backward that
// makes the membrane, of fp32, again. What it charges with is x, or x * scale + shift by channel, the last axis; `scale`
// and `shift` then have F more numbers than channels, which begin again.
struct LIFSettings {
    int32_t T, decay_input, soft, detach, surrogate, C, bf16;  // C 0: x as it is
    float tau, threshold, reset, alpha;
    int64_t n, x_step, grad_step;  // numbers a step, and from one step to the next: 0 where all steps are one
};

static inline vf load(const uint16_t* x, int lanes) {  // bf16: the upper half of a float
    vuh v = {};
    if (lanes == F) v = *(const vuhu*)x;
    else std::memcpy(&v, x, lanes * 2);
    return (vf)(__builtin_convertvector(v, vi) << 16);
}

static inline vi upper_half(vf v) {  // rounded, ties to even
    const vi bits = (vi)v, rounded = bits + 0x7fff + ((bits >> 16) & 1);
    return ((v == v) ? rounded : bits | 0x400000) & (int32_t)0xffff0000;  // a NaN stays one
}

static inline void store(uint16_t* y, vf v, int lanes) {
    const vuh half = __builtin_convertvector(upper_half(v) >> 16, vuh);
    if (lanes == F) *(vuhu*)y = half;
    else std::memcpy(y, &half, lanes * 2);
}

static inline vf as_kept(const float*, vf v) { return v; }
static inline vf as_kept(const uint16_t*, vf v) { return (vf)upper_half(v); }

static inline vf charge(const LIFSettings& z, vf x, vf v, float inverse) {
    const vf rest = v - z.reset;
    if (z.decay_input) return v + (inverse > 0 ? (x - rest) * inverse : (x - rest) / z.tau);
    return v - (inverse > 0 ? rest * inverse : rest / z.tau) + x;
}

static inline vf after(const LIFSettings& z, vf h, vi fires) {
    return z.soft ? h - (vf)((vi)all(z.threshold) & fires) : pick(fires, all(z.reset), h);
}

// e^x of what is at most 0, to 1e-7 of it; below -87 it is as at -87.
static inline vf exponential(vf x) {
    x = pick(x < -87.f, all(-87.f), x);  // a NaN stays one
    const vf whole = (x * 1.44269504f + 12582912.f) - 12582912.f;
    const vf r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    vf p = all(1.9875691500e-4f);
    for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) p = p * r + c;
    p = p * r * r + r + 1.f;
    return (vf)((vi)p + (__builtin_convertvector(whole, vi) << 23));
}

enum { SIGMOID = 0, ATAN = 1, TRIANGLE = 2 };

static inline vf slope(const LIFSettings& z, vf u) {
    if (z.surrogate == SIGMOID) {
        const vf size = pick(u < 0, u, -u) * z.alpha, e = exponential(size), one = e + 1.f;  // even, so that e is small
        return z.alpha * e / (one * one);
    }
    if (z.surrogate == ATAN) {
        const vf a = 1.57079632679f * z.alpha * u;
        return z.alpha / 2 / (1.f + a * a);
    }
    const vf below = 1.f - pick(u < 0, -u, u) * z.alpha;
    return pick(below > 0, below, all(0.f)) * z.alpha;
}

constexpr int64_t NEURONS = 1 << 14;  // a task's: sums of tau's gradient are one a task, in its order

template <class N>
static void lif(const LIFSettings& z, const N* x, N* spikes, int threads) {
    const float inverse = exact_inverse(z.tau);
    share((z.n + NEURONS - 1) / NEURONS, threads, [&](int from, int to) {
        for (int64_t i = from * NEURONS; i < std::min(z.n, to * NEURONS); i += F) {
            const int lanes = std::min<int64_t>(F, z.n - i);
            vf v = all(z.reset);
            for (int t = 0; t < z.T; ++t) {
                const vf h = charge(z, load(x + t * z.x_step + i, lanes), v, inverse);
                const vi fires = h >= z.threshold;
                const vf one = (vf)((vi)all(1.f) & fires);
                v = after(z, h, fires);
                store(spikes + t * z.n + i, one, lanes);
            }
        }
    });
}

// The gradient of what it charges with, from that of its spikes; of tau, where asked, a sum a task.
template <class N>
static void lif_grad(const LIFSettings& z, const N* x, const float* scale, const float* shift, const N* grad, N* out,
                     double* tau_sums, int threads) {
    const float inverse = exact_inverse(z.tau), stays = 1 - 1 / z.tau;
    share((z.n + NEURONS - 1) / NEURONS, threads, [&](int from, int to) {
        std::vector<float> room((2 * (size_t)z.T + 1) * F);
        vf* const charged = (vf*)(room.data() + (-(intptr_t)room.data() & (BYTES - 1)) / 4);
        vf* const driven = charged + z.T;
        for (int task = from; task < to; ++task) {
            double sum = 0;
            int c = z.C ? task * NEURONS % z.C : 0;
            for (int64_t i = task * NEURONS; i < std::min(z.n, (task + 1) * NEURONS); i += F) {
                const int lanes = std::min<int64_t>(F, z.n - i);
                vf v = all(z.reset), a = {}, b = {};
                if (z.C) {
                    a = *(const vfu*)(scale + c), b = *(const vfu*)(shift + c);
                    for (c += F; c >= z.C;) c -= z.C;
                }
                for (int t = 0; t < z.T; ++t) {
                    vf in = load(x + t * z.x_step + i, lanes);
                    if (z.C) in = as_kept(x, in * a + b);  // as the norm wrote it
                    charged[t] = charge(z, in, v, inverse);
                    if (tau_sums) driven[t] = (z.decay_input ? in : vf{}) - (v - z.reset);
                    v = after(z, charged[t], charged[t] >= z.threshold);
                }
                vf grad_v = {};
                for (int t = z.T - 1; t >= 0; --t) {
                    const vf h = charged[t];
                    vf g = load(grad + t * z.grad_step + i, lanes);
                    if (!z.detach) g -= grad_v * (z.soft ? all(z.threshold) : h - z.reset);
                    const vf kept = z.soft ? grad_v : pick(h >= z.threshold, all(0.f), grad_v);
                    const vf grad_h = slope(z, h - z.threshold) * g + kept;
                    if (tau_sums) {
                        const vf moved = grad_h * driven[t];
                        for (int l = 0; l < lanes; ++l) sum -= moved[l];
                    }
                    grad_v = grad_h * stays;
                    const vf made = z.decay_input ? (inverse > 0 ? grad_h * inverse : grad_h / z.tau) : grad_h;
                    store(out + t * z.n + i, made, lanes);
                }
            }
            if (tau_sums) tau_sums[task] = sum / ((double)z.tau * z.tau);
        }
    });
}

extern "C" int sf_lif(const LIFSettings* z, const void* x, void* spikes, int threads) try {
    if (z->bf16) lif(*z, (const uint16_t*)x, (uint16_t*)spikes, threads);
    else lif(*z, (const float*)x, (float*)spikes, threads);
    return DONE;
} catch (...) {
    return status();
}

extern "C" int sf_lif_grad(const LIFSettings* z, const void* x, const float* scale, const float* shift,
                           const void* grad, void* out, double* tau_sums, int threads) try {
    if (z->bf16)
        lif_grad(*z, (const uint16_t*)x, scale, shift, (const uint16_t*)grad, (uint16_t*)out, tau_sums, threads);
    else lif_grad(*z, (const float*)x, scale, shift, (const float*)grad, (float*)out, tau_sums, threads);
    return DONE;
} catch (...) {
    return status();
}
