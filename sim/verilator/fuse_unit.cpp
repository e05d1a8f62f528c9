// Plays raw blocks into a fuse unit and collects its choices, with random stalls on both sides.
// Payloads are packed as the layouts of rtl_gen.fuse say; sizes are in glue.h.
#include <cstdint>
#include <cstring>

#include "glue.h"
#include "play.h"
#include "verilated.h"

extern "C" {

// registers: alpha, beta, alpha_max, beta_min, budget, adapt. words: kWordBytes each, ends: 1 for
// a block's last one. choices: kChoiceBytes each; states: running error, alpha, beta with each
// choice; accepted: cycle in which a block's last word was taken; offered: cycle in which its
// choice was first there. Returns the number of choices, or -1 when more than `wanted` arrive,
// none for `limit` cycles, or words are left.
int64_t sf_fuse(const uint64_t* rom, uint64_t rom_words, const uint16_t* registers,
                const uint8_t* words, const uint8_t* ends, uint64_t count, uint64_t wanted,
                uint32_t idle_permille, uint32_t stall_permille, uint64_t seed, uint64_t limit,
                uint8_t* choices, uint16_t* states, uint64_t* accepted, uint64_t* offered) {
  VerilatedContext context;
  Vtop top{&context};
  Random random(seed);
  top.words_valid = top.choices_ready = 0;
  set_up(top, rom, rom_words, registers);
  uint64_t at = 0, blocks = 0, found = 0, quiet = 0, tail = 0;
  bool offering = false, waiting = false;
  // A tail of cycles behind the last choice shows surplus ones.
  for (uint64_t now = 0; found < wanted || tail < 256; now++) {
    // An offer stands until it is taken.
    offering = at < count && (offering || !random.chance(idle_permille));
    top.words_valid = offering;
    if (offering) std::memcpy(&top.words_payload, words + at * kWordBytes, kWordBytes);
    top.choices_ready = !random.chance(stall_permille);
    top.eval();
    quiet++;
    if (top.choices_valid) {
      if (found == wanted) return -1;
      if (!waiting) offered[found] = now;
      waiting = !top.choices_ready;
      if (top.choices_ready) {
        std::memcpy(choices + found * kChoiceBytes, &top.choices_payload, kChoiceBytes);
        states[3 * found] = top.running_error;
        states[3 * found + 1] = top.alpha_now;
        states[3 * found + 2] = top.beta_now;
        quiet = 0;
        found++;
      }
    }
    if (offering && top.words_ready) {
      if (ends[at]) accepted[blocks++] = now;
      at++;
      offering = false;
      quiet = 0;
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
