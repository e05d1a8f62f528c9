// Drives the verilated detect top from memory and collects its events in memory.
//
// The host is ideal: every stream has words as long as there are any, every event is taken. Ports
// are reached through the table that glue.h fills in for one configuration.
#include <cstdint>
#include <cstring>
#include <vector>

#include "top.h"

namespace {

constexpr int kSettleCycles = 32;

}  // namespace

extern "C" {

struct Words {
  const uint8_t* data;  // kWordBytes each
  const uint8_t* keep;  // kKeepBytes each
  const uint8_t* last;
  uint64_t count;
};

struct Events {
  uint32_t* data;
  uint8_t* last;
  uint64_t capacity;
  uint64_t count;
};

enum Status { kDone = 0, kTimeout = 1, kOverflow = 2 };

void* sf_new() { return new Top; }
void sf_free(void* handle) { delete static_cast<Top*>(handle); }
uint64_t sf_ticks(void* handle) { return static_cast<Top*>(handle)->ticks; }
int sf_write(void* handle, uint32_t address, uint32_t data) {
  return write_register(*static_cast<Top*>(handle), address, data);
}
int sf_read(void* handle, uint32_t address, uint32_t* data) {
  return read_register(*static_cast<Top*>(handle), address, data);
}

// Moves streams until `vectors` of them have been closed and every word has been taken, or `limit`
// cycles have passed without one moving, and then some cycles more, in which nothing may follow.
// Call right after the write that starts the job.
int sf_detect(void* handle, const Words* words, Events* events, uint64_t vectors,
              uint64_t limit) {
  auto& model = *static_cast<Top*>(handle);
  auto& ports = model.ports;
  std::vector<uint64_t> sent(kUnits, 0);
  uint64_t closed = 0, left = 0, idle = 0, tail = 0;
  for (int u = 0; u < kUnits; u++) {
    left += words[u].count;
    events[u].count = 0;
    *ports.events[u].ready = 1;
  }
  while (tail < kSettleCycles && idle < limit) {
    for (int u = 0; u < kUnits; u++) {
      const uint64_t at = sent[u];
      const bool more = at < words[u].count;
      *ports.words[u].valid = more;
      if (more) {
        std::memcpy(ports.words[u].data, words[u].data + at * kWordBytes, kWordBytes);
        std::memcpy(ports.words[u].keep, words[u].keep + at * kKeepBytes, kKeepBytes);
        *ports.words[u].last = words[u].last[at];
      }
    }
    model.settle();
    bool moved = false;
    for (int u = 0; u < kUnits; u++) {
      if (*ports.words[u].valid && *ports.words[u].ready) {
        moved = true;
        sent[u]++;
        left--;
      }
      if (*ports.events[u].valid) {
        moved = true;
        Events& sink = events[u];
        if (sink.count == sink.capacity) return kOverflow;
        std::memcpy(sink.data + sink.count, ports.events[u].data, sizeof(uint32_t));
        closed += sink.last[sink.count++] = *ports.events[u].last;
      }
    }
    idle = moved ? 0 : idle + 1;
    tail = closed >= vectors && !left ? tail + 1 : 0;
    model.edge();
  }
  for (int u = 0; u < kUnits; u++) *ports.words[u].valid = 0;
  if (closed > vectors) return kOverflow;
  return tail < kSettleCycles ? kTimeout : kDone;
}
}
