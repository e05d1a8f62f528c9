// A verilated top behind its ports, its clock and its AXI4-Lite registers, for every harness that
// drives one. Ports are reached through the table that glue.h fills in for one configuration.
#pragma once

#include <cstdint>

#include "glue.h"
#include "verilated.h"

struct Top {
  VerilatedContext context;
  Vtop top{&context};
  Ports ports;
  uint64_t ticks = 0;

  Top() : ports(bind(&top)) {
    top.rst = 1;
    for (int i = 0; i < 4; i++) tick();
    top.rst = 0;
    tick();
  }
  ~Top() { top.final(); }

  // Inputs are set: settle, so that outputs answer them.
  void settle() {
    top.clk = 0;
    top.eval();
  }
  void edge() {
    top.clk = 1;
    top.eval();
    ticks++;
  }
  void tick() {
    settle();
    edge();
  }
};

// Returns the response, or -1 when the slave does not answer.
inline int write_register(Top& model, uint32_t address, uint32_t data) {
  auto& top = model.top;
  top.s_axil_awaddr = address;
  top.s_axil_wdata = data;
  top.s_axil_wstrb = 15;
  top.s_axil_awvalid = top.s_axil_wvalid = top.s_axil_bready = 1;
  bool taken = false;
  for (int i = 0; i < 16 && !taken; i++) {
    model.settle();
    taken = top.s_axil_awready;
    model.edge();
  }
  top.s_axil_awvalid = top.s_axil_wvalid = 0;
  if (!taken) return -1;
  model.settle();
  const int response = top.s_axil_bvalid ? top.s_axil_bresp : -1;
  model.edge();
  return response;
}

inline int read_register(Top& model, uint32_t address, uint32_t* data) {
  auto& top = model.top;
  top.s_axil_araddr = address;
  top.s_axil_arvalid = top.s_axil_rready = 1;
  bool taken = false;
  for (int i = 0; i < 16 && !taken; i++) {
    model.settle();
    taken = top.s_axil_arready;
    model.edge();
  }
  top.s_axil_arvalid = 0;
  if (!taken) return -1;
  model.settle();
  const int response = top.s_axil_rvalid ? top.s_axil_rresp : -1;
  *data = top.s_axil_rdata;
  model.edge();
  return response;
}
