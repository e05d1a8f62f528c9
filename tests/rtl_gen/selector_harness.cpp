// Plays statistics into a fuse selector and collects its choices, with random stalls on both
// sides. Payloads are packed as the layouts of rtl_gen.fuse.selector say; see glue.h.
#include <cstdint>

#include "glue.h"
#include "play.h"
#include "verilated.h"

extern "C" {

// registers: alpha, beta, alpha_max, beta_min, budget, adapt. beats: words of 64 bits, choices:
// two words each (payload), states: running error, alpha, beta after the choice's transfer.
// Returns the number of choices, or -1 when more than `wanted` arrive or none for `limit` cycles;
// *cycles counts from the first offered beat to the last choice.
int64_t sf_select(const uint64_t* rom, uint64_t words, const uint16_t* registers,
                  const uint64_t* beats, uint64_t count, uint64_t wanted, uint32_t idle_permille,
                  uint32_t stall_permille, uint64_t seed, uint64_t limit, uint64_t* choices,
                  uint16_t* states, uint64_t* cycles) {
  VerilatedContext context;
  Vtop top{&context};
  Random random(seed);
  top.statistics__valid = top.choices__ready = 0;
  set_up(top, rom, words, registers);
  uint64_t at = 0, found = 0, quiet = 0;
  bool offered = false;
  // A tail of cycles behind the last choice shows surplus ones.
  uint64_t tail = 0;
  *cycles = 0;
  while (found < wanted || tail < 64) {
    // An offer stands until it is taken.
    offered = at < count && (offered || !random.chance(idle_permille));
    top.statistics__valid = offered;
    if (offered) put(top, beats + 2 * at);
    top.choices__ready = !random.chance(stall_permille);
    top.eval();
    const bool taken = offered && top.statistics__ready;
    const bool given = top.choices__valid && top.choices__ready;
    quiet++;
    if (given) {
      if (found == wanted) return -1;
      get(top, choices + 2 * found);
      quiet = 0;
      found++;
      *cycles = context.time();
    }
    context.timeInc(1);
    if (given) {
      states[3 * (found - 1)] = top.running_error;
      states[3 * (found - 1) + 1] = top.alpha_now;
      states[3 * (found - 1) + 2] = top.beta_now;
    }
    if (taken) {
      at++;
      offered = false;
    }
    cycle(top);
    if (found == wanted) {
      tail++;
    } else if (quiet > limit) {
      return -1;
    }
  }
  top.final();
  return at == count ? int64_t(found) : -1;
}
}
