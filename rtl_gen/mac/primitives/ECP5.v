// Behavioural twins of two ECP5 cells, for simulation only: multiplier and carry cell.
//
// MULT18X18D in the one set-up the generator uses: signed, all registers on CLK0 with CE0, no
// reset, no cascade. Any other set-up stops the simulation.
module MULT18X18D #(
  parameter REG_INPUTA_CLK = "NONE", parameter REG_INPUTA_CE = "CE0",
  parameter REG_INPUTA_RST = "RST0", parameter REG_INPUTB_CLK = "NONE",
  parameter REG_INPUTB_CE = "CE0", parameter REG_INPUTB_RST = "RST0",
  parameter REG_PIPELINE_CLK = "NONE", parameter REG_PIPELINE_CE = "CE0",
  parameter REG_PIPELINE_RST = "RST0", parameter REG_OUTPUT_CLK = "NONE",
  parameter REG_OUTPUT_CE = "CE0", parameter REG_OUTPUT_RST = "RST0"
) (
  input
    A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
  input
    B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
  input SIGNEDA, input SIGNEDB, input SOURCEA, input SOURCEB,
  input CLK0, input CE0, input RST0,
  output
    P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17,
    P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
  initial
    if (REG_INPUTA_CLK != "CLK0" || REG_INPUTB_CLK != "CLK0" || REG_PIPELINE_CLK != "CLK0" ||
        REG_OUTPUT_CLK != "CLK0" || REG_INPUTA_CE != "CE0" || REG_INPUTB_CE != "CE0" ||
        REG_PIPELINE_CE != "CE0" || REG_OUTPUT_CE != "CE0" || REG_INPUTA_RST != "RST0" ||
        REG_INPUTB_RST != "RST0" || REG_PIPELINE_RST != "RST0" || REG_OUTPUT_RST != "RST0") begin
      $display("MULT18X18D twin: unsupported parameters");
      $finish;
    end
  reg signed [17:0] a, b;
  reg signed [35:0] product, out;
  initial begin
    a = 0; b = 0; product = 0; out = 0;
  end
  always @(posedge CLK0)
    if (CE0) begin
      a <= {
        A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0
      };
      b <= {
        B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0
      };
      product <= a * b;
      out <= product;
    end
  assign {
    P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17,
    P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
  } = out;
  // Only these controls are modelled; anything else is an error of the generator.
  always @(posedge CLK0)
    if (!SIGNEDA || !SIGNEDB || SOURCEA || SOURCEB || RST0) begin
      $display("MULT18X18D twin: unsupported controls");
      $finish;
    end
endmodule

// CCU2C with both carries in use: two look-up tables of four inputs, whose output decides whether
// the carry passes; where it does not, the table's lowest four bits, indexed by B and A, are the
// carry.
module CCU2C #(
  parameter [15:0] INIT0 = 16'h0000, parameter [15:0] INIT1 = 16'h0000,
  parameter INJECT1_0 = "YES", parameter INJECT1_1 = "YES"
) (
  input CIN, input A0, input B0, input C0, input D0, input A1, input B1, input C1, input D1,
  output S0, output S1, output COUT
);
  initial
    if (INJECT1_0 != "NO" || INJECT1_1 != "NO") begin
      $display("CCU2C twin: unsupported parameters");
      $finish;
    end
  generate
    // The sum that a new column clears: as arithmetic, which simulates several times faster.
    if (INIT0 == 16'hC6CC && INIT1 == 16'hC6CC) begin : gated
      wire [1:0] a = {A1, A0} & {D1, D0} & ~{C1, C0};
      wire [2:0] sum = {1'b0, a} + {1'b0, B1, B0} + {2'b00, CIN};
      assign {COUT, S1, S0} = sum;
    end else begin : tables
      wire pass0 = INIT0[{D0, C0, B0, A0}];
      wire pass1 = INIT1[{D1, C1, B1, A1}];
      wire carry = pass0 ? CIN : INIT0[{2'b00, B0, A0}];
      assign S0 = pass0 ^ CIN;
      assign S1 = pass1 ^ carry;
      assign COUT = pass1 ? carry : INIT1[{2'b00, B1, A1}];
    end
  endgenerate
endmodule
