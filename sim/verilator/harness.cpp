// Drives the verilated array top from memory and collects its results in memory.
//
// The host is ideal: every stream has data as long as there is any, every result is taken. Ports
// are reached through the table that glue.h fills in for one configuration.
#include <cstdint>
#include <cstring>
#include <vector>

#include "glue.h"
#include "play.h"
#include "registers.h"
#include "verilated.h"

namespace {

// A raw operand on its way through the fuse selector, whatever else the host does meanwhile.
struct SelectorRun {
  const uint8_t* beats = nullptr;  // kSelectorBytes of data, TKEEP, TUSER | TLAST << 1 for each
  uint64_t count = 0, at = 0;
  uint8_t* choices = nullptr;  // kChoiceBytes for each
  uint64_t capacity = 0, found = 0;
  uint32_t idle_permille = 0, stall_permille = 0;
  bool offered = false, ready = false, drawn = false;
  Random random{0};

  void offer(Vtop& top) {
    if (!drawn) {
      // Once a cycle: the host settles as often as it likes.
      offered = at < count && (offered || !random.chance(idle_permille));
      ready = !random.chance(stall_permille);
      drawn = true;
    }
    put_selector(top, offered ? beats + at * (kSelectorBytes + 2) : nullptr, ready);
  }
  void take(Vtop& top) {
    drawn = false;
    if (offered && selector_ready(top)) {
      at++;
      offered = false;
    }
    if (ready && choice_valid(top)) {
      if (found < capacity) get_choice(top, choices + found * kChoiceBytes);
      found++;
    }
  }
};

struct Model {
  VerilatedContext context;
  Vtop top{&context};
  Ports ports;
  uint64_t ticks = 0;

  Model() : ports(bind(&top)) {
    top.rst = 1;
    for (int i = 0; i < 4; i++) tick();
    top.rst = 0;
    tick();
  }
  ~Model() { top.final(); }

  SelectorRun selector;

  // Inputs are set: settle, so that outputs answer them.
  void settle() {
    selector.offer(top);
    top.clk = 0;
    top.eval();
  }
  void edge() {
    selector.take(top);
    top.clk = 1;
    top.eval();
    ticks++;
  }
  void tick() {
    settle();
    edge();
  }
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

// Begins to play a raw operand into the fuse selector; it moves with every later call that takes
// time. The buffers must outlive it.
void sf_selector(void* handle, const uint8_t* beats, uint64_t count, uint8_t* choices,
                 uint64_t capacity, uint32_t idle_permille, uint32_t stall_permille,
                 uint64_t seed) {
  SelectorRun run;
  run.beats = beats;
  run.count = count;
  run.choices = choices;
  run.capacity = capacity;
  run.idle_permille = idle_permille;
  run.stall_permille = stall_permille;
  run.random = Random(seed);
  static_cast<Model*>(handle)->selector = run;
}
uint64_t sf_selector_sent(void* handle) { return static_cast<Model*>(handle)->selector.at; }
uint64_t sf_selector_found(void* handle) { return static_cast<Model*>(handle)->selector.found; }
void sf_wait(void* handle, uint64_t cycles) {
  while (cycles--) static_cast<Model*>(handle)->tick();
}

// Moves streams until every expected result beat has arrived, or `limit` cycles have passed
// without one moving. Call right after the write that starts the job.
int sf_stream(void* handle, Stream* activations, Stream* weights, Sink* results, uint64_t limit) {
  auto& model = *static_cast<Model*>(handle);
  auto& ports = model.ports;
  uint64_t at = 0, round = 0, idle = 0;
  std::vector<uint64_t> sent(kGroups, 0);
  uint64_t missing = 0;
  for (int g = 0; g < kGroups; g++) {
    results[g].beats = 0;
    missing += results[g].capacity;
    *ports.results[g].ready = 1;
  }
  while (missing && idle < limit) {
    const bool offered = round < activations->repeats;
    *ports.activations.valid = offered;
    if (offered) {
      std::memcpy(ports.activations.data, activations->data + at * kDataBytes, kDataBytes);
      *ports.activations.side = activations->side[at];
    }
    for (int g = 0; g < kGroups; g++) {
      const bool more = sent[g] < weights[g].beats;
      *ports.weights[g].valid = more;
      if (more) {
        std::memcpy(ports.weights[g].data, weights[g].data + sent[g] * kDataBytes, kDataBytes);
        *ports.weights[g].side = weights[g].side[sent[g]];
      }
    }
    model.settle();
    bool moved = false;
    if (offered && *ports.activations.ready) {
      moved = true;
      if (++at == activations->beats) {
        at = 0;
        round++;
      }
    }
    for (int g = 0; g < kGroups; g++) {
      if (*ports.weights[g].valid && *ports.weights[g].ready) {
        moved = true;
        sent[g]++;
      }
      if (*ports.results[g].valid) {
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
  for (int g = 0; g < kGroups; g++) *ports.weights[g].valid = 0;
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
