// What harnesses that play a stream into a single block share: random stalls and the clock.
#pragma once

#include <cstdint>

// xorshift64* (Vigna 2016).
struct Random {
  uint64_t state;
  explicit Random(uint64_t seed) : state(seed * 2 + 1) {}
  bool chance(uint32_t permille) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (state * 0x2545F4914F6CDD1Dull >> 32) % 1000 < permille;
  }
};

// One clock cycle of a model with the ports clk and rst.
template <typename Top>
void cycle(Top& top) {
  top.clk = 1;
  top.eval();
  top.clk = 0;
  top.eval();
}

// Two cycles of reset, then the table's words one after another, then the registers alpha, beta,
// alpha_max, beta_min, budget and adapt, and a restart.
template <typename Top>
void set_up(Top& top, const uint64_t* rom, uint64_t words, const uint16_t* registers) {
  top.rst = 1;
  top.table_enable = top.restart = 0;
  cycle(top);
  cycle(top);
  top.rst = 0;
  for (uint64_t i = 0; i < words; i++) {
    top.table_enable = 1;
    top.table_address = i;
    top.table_data = rom[i];
    cycle(top);
  }
  top.table_enable = 0;
  top.alpha = registers[0];
  top.beta = registers[1];
  top.alpha_max = registers[2];
  top.beta_min = registers[3];
  top.budget = registers[4];
  top.adapt = registers[5];
  top.restart = 1;
  cycle(top);
  top.restart = 0;
}
