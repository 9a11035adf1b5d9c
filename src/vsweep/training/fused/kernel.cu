// The training of a trial in one kernel: `advance` of `training/loop.py`, for one hidden layer or none.
//
// THREADS threads train a trial. Its parameters and its optimizer's moments stay in shared memory from its first
// step to its last. In a step (`step` of the loop), `pass` computes the outputs, the loss and the gradient:
// - With a hidden layer, each thread takes EXAMPLES examples of a tile forwards, and leaves the activations and
//   the gradients of the outputs in shared memory; backwards, each thread takes UNITS_A_THREAD units, and the
//   examples of its group. Weights `[features, bias, outputs]` of a unit lie side by side.
// - Without one, a warp trains a trial, and the TRIALS warps of a block share each tile of examples. Forwards, a
//   lane takes four examples; backwards, it takes each 32nd feature. Weights of a feature lie side by side.
// `record` is the loop's `_record`, and `update` is `optimizers.py`. Sums are taken in an order that depends on
// THREADS alone, so a trial has the same bits whoever its neighbours are.
//
// Sizes and choices are macros, which `kernel.py` defines; rows are padded to be read by vectors. All arrays are
// float32, but for the targets of classes.

#ifndef EMULATED
#define DEVICE __device__ __forceinline__
extern __shared__ float4 shared_memory[];
DEVICE float exp2_fast(float a) { float r; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(a)); return r; }
DEVICE float reciprocal(float a) { float r; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(a)); return r; }
#endif

#define NO_SCORE 0
#define ACCURACY 1
#define NUMBER_ERRORS 2

#if LOSS != SQUARED_ERROR && LOSS != HUBER
typedef int Target;
#else
typedef float Target;
#endif

DEVICE constexpr int up_to_4(int count) { return (count + 3) / 4 * 4; }
DEVICE constexpr int larger(int a, int b) { return a > b ? a : b; }

constexpr int WARPS = THREADS / 32, MOMENTS = OPTIMIZER == SGD ? 0 : OPTIMIZER == ADAM || OPTIMIZER == ADAMW ? 2 : 1;
// The sums of a part: the losses, and two more for its scores, which are as many as SCORES is.
constexpr int SUMS = 3, METRICS = (1 + SCORES) * (1 + HELD_OUT) + 2;
constexpr int NUMBERS = 6;
#if UNITS
constexpr int PARAMS = UNITS * (FEATURES + 1 + OUTPUTS) + OUTPUTS;
constexpr int ROW = up_to_4(FEATURES + 1 + OUTPUTS), SLOTS = UNITS * ROW;
constexpr int TILE = THREADS * EXAMPLES, EXAMPLE_ROW = up_to_4(OUTPUTS + FEATURES), HIDDEN_ROW = UNITS | 1;
constexpr int WORK = larger(TILE * EXAMPLE_ROW + up_to_4(TILE * HIDDEN_ROW), THREADS * UNITS_A_THREAD * ROW);
constexpr int COMMON = 0;
#else
constexpr int PARAMS = OUTPUTS * (FEATURES + 1);
constexpr int ROW = OUTPUTS <= 2 ? OUTPUTS : up_to_4(OUTPUTS), SLOTS = FEATURES * ROW;
constexpr int LANE_FEATURES = (FEATURES + 31) / 32;
constexpr int TILE = 128, TILE_ROW = TILE + 4;
constexpr int WORK = larger(OUTPUTS * TILE, up_to_4(LANE_FEATURES * 32 * ROW));
// The tile of examples that the trials of a block share.
constexpr int COMMON = LANE_FEATURES * 32 * TILE_ROW + TILE;
#endif
constexpr int PLACES = up_to_4(SLOTS) + up_to_4(OUTPUTS);
constexpr int SCRATCH = up_to_4(WARPS * (1 + OUTPUTS + 2 + 3 + SUMS));
constexpr int PER_TRIAL = PLACES * (1 + MOMENTS) + WORK + SCRATCH;

struct Arguments {
    // Results: metrics (trials, records, METRICS), and the state after the last step.
    float *metrics, *params_out, *moments_out, *limit_out;
    int *diverged_at_out;
    // Each trial has its step, its parameters, its moments, the loss above which it has diverged and the step at
    // which it did, minus the learning rates of its steps (or the one of all), its numbers, and its width.
    const int *step;
    const float *params, *moments, *limit;
    const int *diverged_at;
    const float *rates, *numbers;
    const int *widths;
    // All trials share x (FEATURES, columns) and y for the training, those held out, and both counts of examples.
    const float *x;
    const Target *y;
    const float *x_val;
    const Target *y_val;
    const int *examples;
    int trials, columns, columns_val, records, steps, record_every, rates_a_trial;
};
// The places of a trial's numbers: diverge_above; the optimizer's two rates of decay, its eps and its weight
// decay; the loss's eps or delta.
enum { DIVERGE_ABOVE, DECAY_1, DECAY_2, EPS, WEIGHT_DECAY, LOSS_NUMBER };

DEVICE void sync_trial() {
    if (THREADS == 32) __syncwarp();
    else __syncthreads();
}

DEVICE float over_warp(float value) {
#pragma unroll
    for (int other = 16; other; other /= 2) value += __shfl_xor_sync(0xffffffffu, value, other);
    return value;
}

// Add up values over the threads of a trial; `scratch` holds COUNT * WARPS floats, for this sum of a step alone.
template <int COUNT> DEVICE void over_trial(float (&values)[COUNT], float *scratch) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) values[i] = over_warp(values[i]);
    if (WARPS == 1) return;
    const int warp = threadIdx.x / 32;
    if (threadIdx.x % 32 == 0)
        for (int i = 0; i < COUNT; i++) scratch[warp * COUNT + i] = values[i];
    sync_trial();
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        values[i] = 0.f;
        for (int w = 0; w < WARPS; w++) values[i] += scratch[w * COUNT + i];
    }
}

template <int COUNT> DEVICE void load(const float *from, float (&to)[COUNT]) {
    if (COUNT % 4 == 0) {
#pragma unroll
        for (int i = 0; i < COUNT / 4; i++) {
            const float4 v = ((const float4 *)from)[i];
            to[4 * i] = v.x, to[4 * i + 1] = v.y, to[4 * i + 2] = v.z, to[4 * i + 3] = v.w;
        }
    } else {
#pragma unroll
        for (int i = 0; i < COUNT; i++) to[i] = from[i];
    }
}

template <int COUNT> DEVICE void store(const float (&from)[COUNT], float *to) {
    if (COUNT % 4 == 0) {
#pragma unroll
        for (int i = 0; i < COUNT / 4; i++)
            ((float4 *)to)[i] = make_float4(from[4 * i], from[4 * i + 1], from[4 * i + 2], from[4 * i + 3]);
    } else {
#pragma unroll
        for (int i = 0; i < COUNT; i++) to[i] = from[i];
    }
}

DEVICE float exponential(float z) { return exp2_fast(z * 1.4426950408889634f); }

DEVICE float sigmoid(float z) { return reciprocal(1.f + exponential(-z)); }

DEVICE float hyperbolic_tangent(float z) {
    // Far from 0 the absolute error is 1e-7; near 0 a series keeps the digits. Both saturate without a branch.
    const float far = fmaf(-2.f, reciprocal(1.f + exp2_fast(z * 2.8853900817779268f)), 1.f), s = z * z;
    const float series = fmaf(s, fmaf(s, fmaf(s, 2.1869488e-2f, -5.3968254e-2f), 1.3333334e-1f), -3.3333334e-1f);
    return s < 0.1225f ? fmaf(z * s, series, z) : far;
}

constexpr float GELU_SCALE = 0.7978845608028654f, GELU_CUBE = 0.044715f;

// A unit keeps its activation for the gradient, and with GELU the input of the activation.
DEVICE float activation(float z) {
    if (ACTIVATION == TANH) return hyperbolic_tangent(z);
    if (ACTIVATION == RELU) return z < 0.f ? 0.f : z;
    if (ACTIVATION == SIGMOID) return sigmoid(z);
    if (ACTIVATION == GELU) return 0.5f * z * (1.f + hyperbolic_tangent(GELU_SCALE * fmaf(GELU_CUBE * z, z * z, z)));
    return z;
}

DEVICE float activation_of_kept(float kept) { return ACTIVATION == GELU ? activation(kept) : kept; }

DEVICE float slope_of_kept(float kept) {
    if (ACTIVATION == TANH) return fmaf(-kept, kept, 1.f);
    if (ACTIVATION == RELU) return kept > 0.f ? 1.f : 0.f;
    if (ACTIVATION == SIGMOID) return kept * (1.f - kept);
    if (ACTIVATION == GELU) {
        const float t = hyperbolic_tangent(GELU_SCALE * fmaf(GELU_CUBE * kept, kept * kept, kept));
        const float inner = GELU_SCALE * fmaf(3.f * GELU_CUBE * kept, kept, 1.f);
        return fmaf(0.5f * kept * fmaf(-t, t, 1.f), inner, 0.5f * (1.f + t));
    }
    return 1.f;
}

// Return the loss of an example, as `tasks/losses.py` computes it, and its gradient in the outputs.
DEVICE float loss_of(const float (&outputs)[OUTPUTS], Target target, float number, float (&gradient)[OUTPUTS]) {
    if (LOSS == SOFTMAX_CROSS_ENTROPY) {
        float largest = outputs[0], own = outputs[0], sum = 0.f;
#pragma unroll
        for (int c = 1; c < OUTPUTS; c++) {
            largest = fmaxf(largest, outputs[c]);
            own = target == c ? outputs[c] : own;
        }
#pragma unroll
        for (int c = 0; c < OUTPUTS; c++) {
            gradient[c] = target == c ? 0.f : exponential(outputs[c] - largest);
            sum += gradient[c];
        }
        // The sum over the wrong classes keeps its digits where the loss is small.
        const float gap = largest - own, more = sum + (exponential(-gap) - 1.f), share = reciprocal(1.f + more);
#pragma unroll
        for (int c = 0; c < OUTPUTS; c++) gradient[c] = (target == c ? -sum : gradient[c]) * share;
        return gap + log1pf(more);
    }
    if (LOSS == SIGMOID_CROSS_ENTROPY || LOSS == CLIPPED_CROSS_ENTROPY) {
        // z is how far the output is on the wrong side.
        const float sign = target == 1 ? -1.f : 1.f, z = sign * outputs[0];
        if (LOSS == SIGMOID_CROSS_ENTROPY) {
            const float e = exponential(-fabsf(z)), share = reciprocal(1.f + e);
            gradient[0] = sign * (z > 0.f ? share : e * share);
            return (z > 0.f ? z : 0.f) + log1pf(e);
        }
        const float p = sigmoid(-z);
        gradient[0] = sign * (p * sigmoid(z) / (p + number));
        return -logf(p + number);
    }
    const float r = outputs[0] - (float)target;
    if (LOSS == SQUARED_ERROR) {
        gradient[0] = 2.f * r;
        return r * r;
    }
    const float near = fminf(fabsf(r), number);
    // A residual that is not finite has no gradient.
    gradient[0] = fmaf(0.f, r, r > 0.f ? near : -near);
    return near * (fabsf(r) - near / 2.f);
}

// Add the loss of an example to the sums; at a record, add its scores too.
DEVICE void add_sums(const float (&outputs)[OUTPUTS], Target target, float loss, bool scored, float (&sums)[SUMS]) {
    sums[0] += loss;
    if (SCORES == NO_SCORE || !scored) return;
    if (SCORES == ACCURACY) {
        float best = outputs[0], odd = isfinite(outputs[0]) ? 0.f : 1.f;
        int guess = 0;
#pragma unroll
        for (int c = 1; c < OUTPUTS; c++) {
            guess = outputs[c] > best ? c : guess;
            best = fmaxf(best, outputs[c]);
            odd += isfinite(outputs[c]) ? 0.f : 1.f;
        }
        if (OUTPUTS == 1) guess = outputs[0] > 0.f;
        sums[1] += guess == (int)target ? 1.f : 0.f;
        sums[2] += odd;
    } else {
        const float r = outputs[0] - (float)target;
        sums[1] += r * r;
        sums[2] += fabsf(r);
    }
}

// Write the mean loss and the scores of a part of the data.
DEVICE void write_scores(float losses, float first, float second, int examples, bool known, float *metrics) {
    const float count = (float)examples, unknown = nanf("");
    metrics[0] = known ? losses / count : unknown;
    if (SCORES == ACCURACY) metrics[1] = known && second == 0.f ? first / count : unknown;
    if (SCORES == NUMBER_ERRORS) {
        metrics[1] = known ? sqrtf(first / count) : unknown;
        metrics[2] = known ? second / count : unknown;
    }
}

// A trial in shared memory. The gradient is the sum of `groups` arrays, each `slots` behind the one before.
struct Trial {
    float *weights, *biases, *moments, *work, *scratch, *common;
    int thread, width, slots, groups;
    const float *numbers;
};

#if UNITS

// Return the place of a slot of the weights in the order of the parameters; -1 for padding.
DEVICE int place_of(int slot) {
    const int unit = slot / ROW, i = slot % ROW;
    if (i < FEATURES) return UNITS + unit * FEATURES + i;
    if (i == FEATURES) return unit;
    return i <= FEATURES + OUTPUTS ? UNITS * (1 + FEATURES) + OUTPUTS + (i - FEATURES - 1) * UNITS + unit : -1;
}

constexpr int FIRST_BIAS = UNITS * (1 + FEATURES);

DEVICE bool is_weight(int slot) { return slot % ROW != FEATURES; }

template <bool BACKWARDS>
DEVICE void pass(const Trial &trial, const float *x, const Target *y, int examples, int columns, bool scored,
                 float (&sums)[SUMS], float (&bias_gradient)[OUTPUTS]) {
    float *const rows = trial.work, *const hidden = rows + TILE * EXAMPLE_ROW;
    const int lane = trial.thread % 32, first = trial.thread / 32 * 32 * EXAMPLES + lane;
    // The units of a thread, and its group of examples.
    const int unit_threads = trial.slots / ROW / UNITS_A_THREAD, groups = THREADS / unit_threads;
    const int unit = trial.thread % unit_threads, group = trial.thread / unit_threads;
    const float scale = 1.f / (float)examples;
    float onward[UNITS_A_THREAD][OUTPUTS], gradient[UNITS_A_THREAD][ROW];
    if (BACKWARDS) {
#pragma unroll
        for (int u = 0; u < UNITS_A_THREAD; u++) {
            const float *const own = trial.weights + (unit + u * unit_threads) * ROW;
            const bool real = unit + u * unit_threads < UNITS;
#pragma unroll
            for (int c = 0; c < OUTPUTS; c++) onward[u][c] = real ? own[FEATURES + 1 + c] : 0.f;
#pragma unroll
            for (int i = 0; i < ROW; i++) gradient[u][i] = 0.f;
        }
    }
#pragma unroll 1
    for (int tile = 0; tile < examples; tile += TILE) {
        if (tile + trial.thread / 32 * 32 * EXAMPLES < examples) {
            float in[EXAMPLES][FEATURES], outputs[EXAMPLES][OUTPUTS];
#pragma unroll
            for (int i = 0; i < EXAMPLES; i++) {
                const int example = tile + first + i * 32, at = example < examples ? example : 0;
#pragma unroll
                for (int d = 0; d < FEATURES; d++) in[i][d] = x[d * columns + at];
#pragma unroll
                for (int c = 0; c < OUTPUTS; c++) outputs[i][c] = trial.biases[c];
            }
#pragma unroll 4
            for (int j = 0; j < trial.width; j++) {
                float weights[ROW];
                load(trial.weights + j * ROW, weights);
#pragma unroll
                for (int i = 0; i < EXAMPLES; i++) {
                    float z = weights[FEATURES];
#pragma unroll
                    for (int d = 0; d < FEATURES; d++) z = fmaf(weights[d], in[i][d], z);
                    const float h = activation(z);
                    if (BACKWARDS) hidden[(first + i * 32) * HIDDEN_ROW + j] = ACTIVATION == GELU ? z : h;
#pragma unroll
                    for (int c = 0; c < OUTPUTS; c++) outputs[i][c] = fmaf(weights[FEATURES + 1 + c], h, outputs[i][c]);
                }
            }
#pragma unroll
            for (int i = 0; i < EXAMPLES; i++) {
                const int example = tile + first + i * 32;
                if (example < examples) {
                    float slope[OUTPUTS], row[EXAMPLE_ROW] = {};
                    const Target target = y[example];
                    const float loss = loss_of(outputs[i], target, trial.numbers[LOSS_NUMBER], slope);
                    add_sums(outputs[i], target, loss, scored, sums);
                    if (BACKWARDS) {
#pragma unroll
                        for (int c = 0; c < OUTPUTS; c++) bias_gradient[c] += row[c] = slope[c] * scale;
#pragma unroll
                        for (int d = 0; d < FEATURES; d++) row[OUTPUTS + d] = in[i][d];
                        store(row, rows + (first + i * 32) * EXAMPLE_ROW);
                    }
                }
            }
        }
        if (BACKWARDS) {
            sync_trial();
            const int count = examples - tile < TILE ? examples - tile : TILE;
#pragma unroll 4
            for (int e = group; e < count; e += groups) {
                float row[EXAMPLE_ROW];
                load(rows + e * EXAMPLE_ROW, row);
#pragma unroll
                for (int u = 0; u < UNITS_A_THREAD; u++) {
                    const int j = unit + u * unit_threads;
                    const float kept = hidden[e * HIDDEN_ROW + (j < UNITS ? j : 0)], h = activation_of_kept(kept);
                    float back = 0.f;
#pragma unroll
                    for (int c = 0; c < OUTPUTS; c++) {
                        back = fmaf(onward[u][c], row[c], back);
                        gradient[u][FEATURES + 1 + c] = fmaf(row[c], h, gradient[u][FEATURES + 1 + c]);
                    }
                    back *= slope_of_kept(kept);
                    gradient[u][FEATURES] += back;
#pragma unroll
                    for (int d = 0; d < FEATURES; d++) gradient[u][d] = fmaf(back, row[OUTPUTS + d], gradient[u][d]);
                }
            }
            sync_trial();
        }
    }
    if (BACKWARDS) {
#pragma unroll
        for (int u = 0; u < UNITS_A_THREAD; u++)
            store(gradient[u], trial.work + group * trial.slots + (unit + u * unit_threads) * ROW);
    }
}

#else

DEVICE int place_of(int slot) {
    return slot % ROW < OUTPUTS ? OUTPUTS + slot % ROW * FEATURES + slot / ROW : -1;
}

constexpr int FIRST_BIAS = 0;

DEVICE bool is_weight(int slot) { return true; }

template <bool BACKWARDS>
DEVICE void pass(const Trial &trial, const float *x, const Target *y, int examples, int columns, bool scored,
                 float (&sums)[SUMS], float (&bias_gradient)[OUTPUTS]) {
    float *const tile_x = trial.common, *const slopes = trial.work;
    Target *const tile_y = (Target *)(tile_x + LANE_FEATURES * 32 * TILE_ROW);
    const int lane = trial.thread;
    const float scale = 1.f / (float)examples;
    float gradient[LANE_FEATURES][OUTPUTS] = {};
#pragma unroll 1
    for (int tile = 0; tile < examples; tile += TILE) {
        const int count = examples - tile < TILE ? examples - tile : TILE;
        __syncthreads();
        for (int i = threadIdx.x; i < LANE_FEATURES * 32 * TILE; i += 32 * TRIALS) {
            const int d = i / TILE, e = i % TILE;
            tile_x[d * TILE_ROW + e] = d < FEATURES && e < count ? x[d * columns + tile + e] : 0.f;
        }
        for (int e = threadIdx.x; e < TILE; e += 32 * TRIALS) tile_y[e] = e < count ? y[tile + e] : (Target)0;
        __syncthreads();
        float outputs[4][OUTPUTS];
#pragma unroll
        for (int c = 0; c < OUTPUTS; c++)
#pragma unroll
            for (int i = 0; i < 4; i++) outputs[i][c] = trial.biases[c];
#pragma unroll 4
        for (int d = 0; d < FEATURES; d++) {
            float in[4], weights[ROW];
            load(tile_x + d * TILE_ROW + 4 * lane, in);
            load(trial.weights + d * ROW, weights);
#pragma unroll
            for (int c = 0; c < OUTPUTS; c++)
#pragma unroll
                for (int i = 0; i < 4; i++) outputs[i][c] = fmaf(weights[c], in[i], outputs[i][c]);
        }
        float slope[4][OUTPUTS];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const bool real = 4 * lane + i < count;
            const Target target = tile_y[4 * lane + i];
            const float loss = loss_of(outputs[i], target, trial.numbers[LOSS_NUMBER], slope[i]);
            if (real) add_sums(outputs[i], target, loss, scored, sums);
#pragma unroll
            for (int c = 0; c < OUTPUTS; c++) bias_gradient[c] += slope[i][c] = real ? slope[i][c] * scale : 0.f;
        }
        if (BACKWARDS) {
#pragma unroll
            for (int c = 0; c < OUTPUTS; c++)
                ((float4 *)(slopes + c * TILE))[lane] = make_float4(slope[0][c], slope[1][c], slope[2][c], slope[3][c]);
            __syncwarp();
#pragma unroll 2
            for (int e = 0; e < (count + 3) / 4; e++) {
                float in[LANE_FEATURES][4];
#pragma unroll
                for (int q = 0; q < LANE_FEATURES; q++) load(tile_x + (lane + 32 * q) * TILE_ROW + 4 * e, in[q]);
#pragma unroll
                for (int c = 0; c < OUTPUTS; c++) {
                    float own[4];
                    load(slopes + c * TILE + 4 * e, own);
#pragma unroll
                    for (int q = 0; q < LANE_FEATURES; q++)
#pragma unroll
                        for (int i = 0; i < 4; i++) gradient[q][c] = fmaf(own[i], in[q][i], gradient[q][c]);
                }
            }
            __syncwarp();
        }
    }
    if (BACKWARDS) {
#pragma unroll
        for (int q = 0; q < LANE_FEATURES; q++)
#pragma unroll
            for (int c = 0; c < OUTPUTS; c++)
                if (lane + 32 * q < FEATURES) trial.work[(lane + 32 * q) * ROW + c] = gradient[q][c];
    }
}

#endif

DEVICE float gradient_of(const Trial &trial, int slot) {
    float sum = 0.f;
    for (int g = 0; g < trial.groups; g++) sum += trial.work[g * trial.slots + slot];
    return sum;
}

DEVICE void add_norms(float gradient, float param, float (&seen)[5]) {
    seen[2] += gradient * gradient;
    seen[3] += param * param;
    seen[4] += isfinite(param) ? 0.f : 1.f;
}

// The numbers of an update that all parameters share.
struct Step {
    float rate, decay_1, decay_2, correction_1, correction_2, eps, weight_decay;
};

// Move a parameter against its gradient; its moments lie PLACES floats apart.
DEVICE void update(const Step &step, float gradient, bool decays, float *param, float *moment) {
    const float decay = decays ? step.weight_decay : 0.f;
    float direction;
    if (OPTIMIZER == SGD || OPTIMIZER == MOMENTUM || OPTIMIZER == NESTEROV) {
        gradient = fmaf(decay, *param, gradient);
        direction = gradient;
        if (OPTIMIZER != SGD) {
            moment[0] = fmaf(step.decay_1, moment[0], gradient);
            direction = OPTIMIZER == MOMENTUM ? moment[0] : fmaf(step.decay_1, moment[0], gradient);
        }
    } else if (OPTIMIZER == ADAM || OPTIMIZER == ADAMW) {
        moment[0] = fmaf(1.f - step.decay_1, gradient, step.decay_1 * moment[0]);
        moment[PLACES] = fmaf(1.f - step.decay_2, gradient * gradient, step.decay_2 * moment[PLACES]);
        direction = moment[0] / step.correction_1 / (sqrtf(moment[PLACES] / step.correction_2) + step.eps);
    } else if (OPTIMIZER == RMSPROP) {
        moment[0] = fmaf(1.f - step.decay_1, gradient * gradient, step.decay_1 * moment[0]);
        direction = gradient * rsqrtf(moment[0] + step.eps);
    } else {
        const float mixed = fmaf(1.f - step.decay_1, gradient, step.decay_1 * moment[0]);
        direction = mixed > 0.f ? 1.f : mixed < 0.f ? -1.f : mixed;
        moment[0] = fmaf(1.f - step.decay_2, gradient, step.decay_2 * moment[0]);
    }
    if (OPTIMIZER == ADAMW || OPTIMIZER == LION) direction = fmaf(decay, *param, direction);
    *param = fmaf(step.rate, direction, *param);
}

#if !UNITS && OUTPUTS * ((FEATURES + 31) / 32 + 4) <= 64
// Blocks of 8 warps need at most half of the registers to share a multiprocessor.
#define BOUNDS __launch_bounds__(THREADS *TRIALS, 2)
#else
#define BOUNDS __launch_bounds__(THREADS *TRIALS)
#endif

extern "C" __global__ void BOUNDS train(Arguments a) {
    const int place = blockIdx.x * TRIALS + threadIdx.x / THREADS;
    const bool exists = place < a.trials;
    // A warp without a trial of its own helps to load the examples, and writes nothing.
    const int number = exists ? place : a.trials - 1;
    Trial trial;
    trial.common = (float *)shared_memory;
    trial.weights = trial.common + COMMON + threadIdx.x / THREADS * PER_TRIAL;
    trial.biases = trial.weights + up_to_4(SLOTS);
    trial.moments = trial.weights + PLACES;
    trial.work = trial.moments + MOMENTS * PLACES;
    trial.scratch = trial.work + WORK;
    trial.thread = threadIdx.x % THREADS;
    trial.numbers = a.numbers + number * NUMBERS;
#if UNITS
    trial.width = a.widths[number];
    // As many threads take units as there are in the next power of 2.
    int rounded = UNITS_A_THREAD;
    while (rounded < trial.width) rounded *= 2;
    trial.slots = rounded * ROW;
    trial.groups = THREADS / (rounded / UNITS_A_THREAD);
    const int used = trial.width * ROW;
#else
    trial.width = 0;
    trial.slots = SLOTS;
    trial.groups = 1;
    const int used = SLOTS;
#endif
    const float *const params = a.params + (long long)number * PARAMS;
    const float *const moments = a.moments + (long long)number * MOMENTS * PARAMS;
    for (int i = trial.thread; i < SLOTS; i += THREADS) {
        const int at = place_of(i);
        trial.weights[i] = at < 0 ? 0.f : params[at];
        for (int m = 0; m < MOMENTS; m++) trial.moments[m * PLACES + i] = at < 0 ? 0.f : moments[m * PARAMS + at];
    }
    if (trial.thread < OUTPUTS) {
        const int at = FIRST_BIAS + trial.thread, i = up_to_4(SLOTS) + trial.thread;
        trial.weights[i] = params[at];
        for (int m = 0; m < MOMENTS; m++) trial.moments[m * PLACES + i] = moments[m * PARAMS + at];
    }
    sync_trial();

    float limit = a.limit[number];
    int diverged_at = a.diverged_at[number];
    for (int r = 0; r < a.records; r++) {
        const int since = a.step[number] + r * a.record_every, start = since < a.steps ? since : a.steps;
        const int updates = a.steps - start < a.record_every ? a.steps - start : a.record_every;
        float *const metrics = a.metrics + ((long long)number * a.records + r) * METRICS;
        for (int s = 0; s == 0 || s < updates; s++) {
            const bool is_record = s == 0, writes = is_record && exists && trial.thread == 0;
            const int step = start + s;
            float sums[SUMS] = {}, bias_gradient[OUTPUTS] = {}, totals[1 + OUTPUTS];
            pass<true>(trial, a.x, a.y, a.examples[0], a.columns, is_record, sums, bias_gradient);
            totals[0] = sums[0];
#pragma unroll
            for (int c = 0; c < OUTPUTS; c++) totals[1 + c] = bias_gradient[c];
            over_trial(totals, trial.scratch);
            if (WARPS == 1) sync_trial();
            float loss = totals[0] / (float)a.examples[0], own_bias_gradient = 0.f;
#pragma unroll
            for (int c = 0; c < OUTPUTS; c++) own_bias_gradient = trial.thread == c ? totals[1 + c] : own_bias_gradient;
            if (is_record) {
                // The scores, the squares of the gradient and of the parameters, and how many are not finite.
                float seen[5] = {sums[1], sums[2]};
                for (int i = trial.thread; i < used; i += THREADS)
                    if (place_of(i) >= 0) add_norms(gradient_of(trial, i), trial.weights[i], seen);
                if (trial.thread < OUTPUTS) add_norms(own_bias_gradient, trial.biases[trial.thread], seen);
                over_trial(seen, trial.scratch + WARPS * (1 + OUTPUTS));
                const bool known = seen[4] == 0.f;
                if (writes) {
                    write_scores(totals[0], seen[0], seen[1], a.examples[0], known, metrics);
                    metrics[METRICS - 2] = known ? sqrtf(seen[2]) : nanf("");
                    metrics[METRICS - 1] = known ? sqrtf(seen[3]) : nanf("");
                }
#if HELD_OUT
                float val_sums[SUMS] = {}, unused[OUTPUTS] = {};
                pass<false>(trial, a.x_val, a.y_val, a.examples[1], a.columns_val, true, val_sums, unused);
                over_trial(val_sums, trial.scratch + WARPS * (1 + OUTPUTS + 5));
                if (WARPS == 1) sync_trial();
                float *const val_metrics = metrics + 1 + SCORES;
                if (writes) write_scores(val_sums[0], val_sums[1], val_sums[2], a.examples[1], known, val_metrics);
#endif
                if (step == 0) limit = trial.numbers[DIVERGE_ABOVE] * fabsf(loss);
                // Weights that are not finite may give a finite loss, and no metric of theirs means anything.
                if (!known) loss = nanf("");
            }
            if (diverged_at < 0 && !(isfinite(loss) && !(loss > limit))) diverged_at = step;
            if (s < updates) {
                const float *const n = trial.numbers;
                Step now = {a.rates[(long long)number * a.rates_a_trial + (a.rates_a_trial > 1 ? step : 0)],
                            n[DECAY_1], n[DECAY_2], 1.f, 1.f, n[EPS], n[WEIGHT_DECAY]};
                if (OPTIMIZER == ADAM || OPTIMIZER == ADAMW) {
                    now.correction_1 = 1.f - powf(now.decay_1, (float)(step + 1));
                    now.correction_2 = 1.f - powf(now.decay_2, (float)(step + 1));
                }
                for (int i = trial.thread; i < used; i += THREADS)
                    if (place_of(i) >= 0)
                        update(now, gradient_of(trial, i), is_weight(i), trial.weights + i, trial.moments + i);
                if (trial.thread < OUTPUTS) {
                    const int i = up_to_4(SLOTS) + trial.thread;
                    update(now, own_bias_gradient, false, trial.weights + i, trial.moments + i);
                }
            }
            sync_trial();
        }
    }
    if (!exists) return;
    for (int i = trial.thread; i < SLOTS + OUTPUTS; i += THREADS) {
        const int at = i < SLOTS ? place_of(i) : FIRST_BIAS + i - SLOTS;
        const int from = i < SLOTS ? i : up_to_4(SLOTS) + i - SLOTS;
        if (at < 0) continue;
        a.params_out[(long long)number * PARAMS + at] = trial.weights[from];
        for (int m = 0; m < MOMENTS; m++)
            a.moments_out[((long long)number * MOMENTS + m) * PARAMS + at] = trial.moments[m * PLACES + from];
    }
    if (trial.thread == 0) a.limit_out[number] = limit, a.diverged_at_out[number] = diverged_at;
}
