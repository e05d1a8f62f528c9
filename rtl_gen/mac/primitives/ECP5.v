// Behavioural twins of three ECP5 cells, for simulation only: multiplier, carry cell, block memory.
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

// DP16KD in the one set-up the generator uses: port A writes, port B reads as many bits or fewer,
// through its output register, which loads with OCEB. A port of 36 bits takes the data lines of
// both, the lower half on A. Bytes have a ninth bit, which ports of less than 9 bits don't see;
// address lines below a word's number are the enables of its bytes, which must all be set.
module DP16KD #(
  parameter DATA_WIDTH_A = 18, parameter DATA_WIDTH_B = 18,
  parameter REGMODE_A = "NOREG", parameter REGMODE_B = "NOREG"
) (
  input
    DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
    DIA3, DIA2, DIA1, DIA0,
  input
    DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
    DIB3, DIB2, DIB1, DIB0,
  input
    ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input
    ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input CLKA, input CEA, input WEA, input OCEA, input RSTA, input CSA0, input CSA1, input CSA2,
  input CLKB, input CEB, input WEB, input OCEB, input RSTB, input CSB0, input CSB1, input CSB2,
  output
    DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4,
    DOA3, DOA2, DOA1, DOA0,
  output
    DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4,
    DOB3, DOB2, DOB1, DOB0
);
  // Bits of data to a port's width.
  localparam WRITTEN = DATA_WIDTH_A < 9 ? DATA_WIDTH_A : DATA_WIDTH_A / 9 * 8;
  localparam READ = DATA_WIDTH_B < 9 ? DATA_WIDTH_B : DATA_WIDTH_B / 9 * 8;
  localparam RATIO = WRITTEN / READ;
  initial
    if (REGMODE_A != "OUTREG" || REGMODE_B != "OUTREG" || READ * RATIO != WRITTEN) begin
      $display("DP16KD twin: unsupported parameters");
      $finish;
    end
  wire [35:0] beat = {
    DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
    DIB3, DIB2, DIB1, DIB0, DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8,
    DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0
  };
  wire [13:0] to = {
    ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0
  };
  wire [13:0] from = {
    ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0
  };
  wire [31:0] bytes = {beat[34:27], beat[25:18], beat[16:9], beat[7:0]};
  // Addresses count bits; a beat holds the words read, the first in the lowest bits.
  reg [WRITTEN-1:0] store [0:16384/WRITTEN-1];
  reg [READ-1:0] latch, out;
  wire [13:0] row = to / WRITTEN;
  wire [13:0] place = from / WRITTEN;
  wire [13:0] low = from % WRITTEN;
  wire [WRITTEN-1:0] fetched = store[place] >> low;
  always @(posedge CLKA)
    if (CEA) store[row] <= bytes[WRITTEN-1:0];
  always @(posedge CLKB) begin
    if (CEB) latch <= fetched[READ-1:0];
    if (OCEB) out <= latch;
  end
  wire [31:0] bits = out;
  wire [35:0] word = {
    1'b0, bits[31:24], 1'b0, bits[23:16], 1'b0, bits[15:8], 1'b0, bits[7:0]
  };
  wire [35:0] lines = DATA_WIDTH_B == 36 ? word : {word[17:0], 18'b0};
  assign {
    DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4,
    DOB3, DOB2, DOB1, DOB0,
    DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4,
    DOA3, DOA2, DOA1, DOA0
  } = lines;
  // Only these controls are modelled; anything else is an error of the generator.
  wire [3:0] enables = DATA_WIDTH_A == 36 ? 4'b1111 : DATA_WIDTH_A == 18 ? 4'b0011 : 4'b0000;
  always @(posedge CLKA)
    if (!WEA || WEB || RSTA || RSTB || CSA0 || CSA1 || CSA2 || CSB0 || CSB1 || CSB2 ||
        (DATA_WIDTH_B == 36 && OCEA != OCEB) ||
        (DATA_WIDTH_A >= 18 && (to[3:0] & enables) != enables)) begin
      $display("DP16KD twin: unsupported controls");
      $finish;
    end
endmodule
