// AXI4-Lite accesses to a top's registers, for every harness whose model has `top`, `settle` and
// `edge`.
#pragma once

#include <cstdint>

// Returns the response, or -1 when the slave does not answer.
template <typename Model>
int write_register(Model& model, uint32_t address, uint32_t data) {
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

template <typename Model>
int read_register(Model& model, uint32_t address, uint32_t* data) {
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
