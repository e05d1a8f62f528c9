// Drives several MAC technologies, each in several accumulator widths, side by side.
//
// All instances share their inputs, so one pass over the operands checks all of them. Ports and
// constants come from glue.h.
#include "play.h"
#include <cstdint>
#include <vector>

#include "glue.h"
#include "verilated.h"

namespace {

struct Model {
  VerilatedContext context;
  Vtop top{&context};

  Model() {
    top.rst = 1;
    top.enable = top.valid = top.load = top.capture = 0;
    for (int i = 0; i < 4; i++) {
      settle();
      edge();
    }
    top.rst = 0;
  }
  ~Model() { top.final(); }

  void settle() {
    top.clk = 0;
    top.eval();
  }
  void edge() {
    top.clk = 1;
    top.eval();
  }
};

}  // namespace

extern "C" {

// Every pair of activations, or with `lanes` every activation in each lane on its own, against the
// weights first .. stop - 1, one product a cycle, each loaded and captured on its own. Returns the
// number of wrong sums; `wrong` is x, w and the instance's number of the first one.
uint64_t sf_products(int first, int stop, int lanes, int32_t* wrong) {
  Model model;
  auto& top = model.top;
  // Captured kLatency cycles after the operands, visible one cycle later.
  const int64_t delay = kLatency + 1;
  const int bits = lanes ? 8 : 16;
  const int64_t count = int64_t(stop - first) << bits;
  // Both lanes run through all values, one upwards and one downwards.
  const auto operands = [lanes](int64_t i) {
    return lanes ? uint16_t(((i & 0xFF) * 0x101) ^ 0xFF00) : uint16_t(i);
  };
  uint64_t errors = 0;
  int32_t low[kInstances], high[kInstances];
  top.enable = top.valid = top.load = top.capture = 1;
  for (int64_t i = 0; i < count + delay; i++) {
    top.x = operands(i);
    top.weight = uint8_t(first + (i >> bits));
    model.settle();
    if (i >= delay) {
      const int64_t j = i - delay;
      const int w = first + int(j >> bits);
      const int32_t x0 = int8_t(operands(j)), x1 = int8_t(operands(j) >> 8);
      sums(top, low, high);
      for (int n = 0; n < kInstances; n++) {
        if (low[n] == x0 * w && high[n] == x1 * w) continue;
        if (!errors++) {
          wrong[0] = operands(j);
          wrong[1] = w;
          wrong[2] = n;
        }
      }
    }
    model.edge();
  }
  return errors;
}

// Operation flags.
enum { kValid = 1, kLoad = 2, kLast = 4 };

// Plays operations the way an engine does: a column is captured when its sum is visible, unless
// the column before it is still held; then the lanes wait. Held sums are read two cycles after
// the capture and again before they are given up. Returns the number of columns read, or
// -1 - column if the sums of a column changed while held.
int64_t sf_columns(uint64_t count, const uint16_t* x, const int8_t* weight, const uint8_t* flags,
                   uint32_t stall_permille, uint32_t hold_permille, uint64_t seed,
                   int32_t* low, int32_t* high) {
  Model model;
  auto& top = model.top;
  Random random(seed);
  std::vector<uint8_t> line(kLatency, 0);
  uint64_t at = 0;
  int64_t columns = 0;
  bool held = false;
  int age = 0;
  while (at < count + kLatency || held) {
    const bool due = line[0] & kLast;
    // A closing sum waits for its place, and so does everything behind it.
    const bool enable = !(due && held) && !random.chance(stall_permille);
    const bool capture = due && enable;
    const uint8_t flag = at < count ? flags[at] : 0;
    top.enable = enable;
    top.capture = capture;
    top.valid = flag & kValid;
    top.load = (flag & kLoad) != 0;
    top.x = at < count ? x[at] : 0;
    top.weight = at < count ? uint8_t(weight[at]) : 0;
    model.settle();
    if (held && ++age >= 2) {
      int32_t now_low[kInstances], now_high[kInstances];
      sums(top, now_low, now_high);
      for (int n = 0; n < kInstances; n++) {
        const int64_t slot = columns * kInstances + n;
        if (age == 2) {
          low[slot] = now_low[n];
          high[slot] = now_high[n];
        } else if (low[slot] != now_low[n] || high[slot] != now_high[n]) {
          return -1 - columns;
        }
      }
      if (!random.chance(hold_permille)) {
        held = false;
        columns++;
      }
    }
    if (capture) {
      held = true;
      age = 0;
    }
    model.edge();
    if (enable) {
      line.erase(line.begin());
      line.push_back(flag);
      at++;
    }
  }
  return columns;
}
}
