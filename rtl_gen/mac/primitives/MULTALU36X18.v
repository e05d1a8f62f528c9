// Behavioural twin of Gowin's MULTALU36X18, for simulation only.
//
// It models the one set-up the generator uses: mode 1 (the sum so far, or nothing, plus A * B),
// signed, registers for A, B, the product and the sum, ACCLOAD registered twice so that it meets
// its product, no reset. Any other set-up stops the simulation.
module MULTALU36X18 #(
  parameter AREG = 1'b0, parameter BREG = 1'b0, parameter CREG = 1'b0, parameter PIPE_REG = 1'b0,
  parameter OUT_REG = 1'b0, parameter ASIGN_REG = 1'b0, parameter BSIGN_REG = 1'b0,
  parameter ACCLOAD_REG0 = 1'b0, parameter ACCLOAD_REG1 = 1'b0, parameter C_ADD_SUB = 1'b0,
  parameter MULT_RESET_MODE = "SYNC", parameter MULTALU36X18_MODE = 0
) (
  input CLK, input CE, input RESET,
  input [17:0] A, input [35:0] B, input [53:0] C, input [54:0] CASI,
  input ASIGN, input BSIGN, input ACCLOAD,
  output reg [53:0] DOUT
);
  initial begin
    DOUT = 54'd0;
    if (AREG != 1 || BREG != 1 || PIPE_REG != 1 || OUT_REG != 1 || ACCLOAD_REG0 != 1 ||
        ACCLOAD_REG1 != 1 || C_ADD_SUB != 0 || MULT_RESET_MODE != "SYNC" ||
        MULTALU36X18_MODE != 1) begin
      $display("MULTALU36X18 twin: unsupported parameters");
      $finish;
    end
  end
  reg signed [17:0] a;
  reg signed [35:0] b;
  reg signed [53:0] product;
  reg accumulate0, accumulate1;
  initial begin
    a = 0; b = 0; product = 0; accumulate0 = 0; accumulate1 = 0;
  end
  always @(posedge CLK)
    if (CE) begin
      a <= A;
      b <= B;
      accumulate0 <= ACCLOAD;
      product <= a * b;
      accumulate1 <= accumulate0;
      DOUT <= (accumulate1 ? DOUT : 54'd0) + product;
    end
  // Only these controls are modelled; anything else is an error of the generator.
  always @(posedge CLK)
    if (!ASIGN || !BSIGN || RESET || C != 54'd0 || CASI != 55'd0) begin
      $display("MULTALU36X18 twin: unsupported controls");
      $finish;
    end
endmodule
