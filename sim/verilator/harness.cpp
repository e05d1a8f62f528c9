// Drives the verilated array top from memory and collects its results in memory.
//
// The host is ideal unless it is paced: every stream has data as long as there is any, every result
// is taken. Ports are reached through the table that glue.h fills in for one configuration.
#include <cstdint>
#include <cstring>
#include <vector>

#include "play.h"
#include "top.h"

namespace {

struct Model : Top {
  uint32_t idle_permille = 0, stall_permille = 0;
  Random random{0};
};

}  // namespace

extern "C" {

struct Stream {
  const uint8_t* data;
  const uint8_t* side;  // last (activations) or target (weights), one byte a beat
  uint64_t beats;
  uint64_t repeats;
};

struct Sink {
  uint8_t* data;
  uint8_t* engine;
  uint64_t capacity;  // beats
  uint64_t beats;
};

enum Status { kDone = 0, kTimeout = 1, kOverflow = 2, kHalted = 3 };

void* sf_new() { return new Model; }
void sf_free(void* handle) { delete static_cast<Model*>(handle); }
uint64_t sf_ticks(void* handle) { return static_cast<Model*>(handle)->ticks; }

int sf_write(void* handle, uint32_t address, uint32_t data) {
  return write_register(*static_cast<Model*>(handle), address, data);
}
int sf_read(void* handle, uint32_t address, uint32_t* data) {
  return read_register(*static_cast<Model*>(handle), address, data);
}

// From now on streams idle and results stall for so many of a thousand cycles.
void sf_pace(void* handle, uint32_t idle_permille, uint32_t stall_permille, uint64_t seed) {
  auto& model = *static_cast<Model*>(handle);
  model.idle_permille = idle_permille;
  model.stall_permille = stall_permille;
  model.random = Random(seed);
}
void sf_wait(void* handle, uint64_t cycles) {
  while (cycles--) static_cast<Model*>(handle)->tick();
}

// Moves streams until every expected result beat has arrived, or `limit` cycles have passed
// without one moving. Call right after the write that starts the job. `operand` has 8 bytes a beat
// and the last one's side is 1; without beats there is none.
int sf_stream(void* handle, Stream* activations, Stream* weights, Stream* operand, Sink* results,
              uint64_t limit) {
  auto& model = *static_cast<Model*>(handle);
  auto& ports = model.ports;
  uint64_t at = 0, round = 0, idle = 0, fed = 0;
  std::vector<uint64_t> sent(kGroups, 0);
  // What was offered stands until it is taken.
  bool offered = false, feeding = false;
  std::vector<bool> more(kGroups, false), takes(kGroups, false);
  const bool paced = model.idle_permille || model.stall_permille;
  auto goes = [&](uint32_t permille) { return !paced || !model.random.chance(permille); };
  uint64_t missing = 0;
  for (int g = 0; g < kGroups; g++) {
    results[g].beats = 0;
    missing += results[g].capacity;
  }
  while (missing && idle < limit) {
    offered = round < activations->repeats && (offered || goes(model.idle_permille));
    *ports.activations.valid = offered;
    if (offered) {
      std::memcpy(ports.activations.data, activations->data + at * kActivationBytes,
                  kActivationBytes);
      *ports.activations.side = activations->side[at];
    }
    for (int g = 0; g < kGroups; g++) {
      more[g] = sent[g] < weights[g].beats && (more[g] || goes(model.idle_permille));
      *ports.weights[g].valid = more[g];
      if (more[g]) {
        std::memcpy(ports.weights[g].data, weights[g].data + sent[g] * kWeightBytes, kWeightBytes);
        *ports.weights[g].side = weights[g].side[sent[g]];
      }
      takes[g] = goes(model.stall_permille);
      *ports.results[g].ready = takes[g];
    }
    feeding = fed < operand->beats && (feeding || goes(model.idle_permille));
    put_operand(model.top, feeding ? operand->data + 8 * fed : nullptr,
                feeding && operand->side[fed]);
    model.settle();
    bool moved = false;
    if (feeding && operand_ready(model.top)) {
      moved = true;
      feeding = false;
      fed++;
    }
    if (offered && *ports.activations.ready) {
      moved = true;
      offered = false;
      if (++at == activations->beats) {
        at = 0;
        round++;
      }
    }
    for (int g = 0; g < kGroups; g++) {
      if (*ports.weights[g].valid && *ports.weights[g].ready) {
        moved = true;
        more[g] = false;
        sent[g]++;
      }
      if (*ports.results[g].valid && takes[g]) {
        moved = true;
        Sink& sink = results[g];
        if (sink.beats == sink.capacity) return kOverflow;
        std::memcpy(sink.data + sink.beats * kResultBytes, ports.results[g].data, kResultBytes);
        sink.engine[sink.beats++] = *ports.results[g].side;
        missing--;
      }
    }
    idle = moved ? 0 : idle + 1;
    model.edge();
  }
  *ports.activations.valid = 0;
  for (int g = 0; g < kGroups; g++) {
    *ports.weights[g].valid = 0;
    *ports.results[g].ready = 1;
  }
  put_operand(model.top, nullptr, false);
  if (missing) return kTimeout;
  // The array settles a few cycles after its last result; nothing may follow it.
  for (int i = 0; i < 32; i++) {
    model.settle();
    for (int g = 0; g < kGroups; g++)
      if (*ports.results[g].valid) return kOverflow;
    model.edge();
  }
  return kDone;
}
}
