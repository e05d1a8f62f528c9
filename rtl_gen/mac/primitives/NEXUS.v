// Behavioural twins of two Nexus cells, for simulation only: multiplier and carry cell.
//
// MULT9X9 in the one set-up the generator uses: signed, input and output registers, no reset. Any
// other set-up stops the simulation.
module MULT9X9 #(
  parameter REGINPUTA = "REGISTER", parameter REGINPUTB = "REGISTER",
  parameter REGOUTPUT = "REGISTER", parameter RESETMODE = "SYNC"
) (
  input CLK, input [8:0] A, input [8:0] B, input SIGNEDA, input SIGNEDB,
  input CEA, input CEB, input CEOUT, input RSTA, input RSTB, input RSTOUT,
  output [17:0] Z
);
  initial
    if (REGINPUTA != "REGISTER" || REGINPUTB != "REGISTER" || REGOUTPUT != "REGISTER" ||
        RESETMODE != "SYNC") begin
      $display("MULT9X9 twin: unsupported parameters");
      $finish;
    end
  reg signed [8:0] a, b;
  reg signed [17:0] product;
  initial begin
    a = 0; b = 0; product = 0;
  end
  always @(posedge CLK) begin
    if (CEA) a <= A;
    if (CEB) b <= B;
    if (CEOUT) product <= a * b;
  end
  assign Z = product;
  // Only these controls are modelled; anything else is an error of the generator.
  always @(posedge CLK)
    if (!SIGNEDA || !SIGNEDB || RSTA || RSTB || RSTOUT) begin
      $display("MULT9X9 twin: unsupported controls");
      $finish;
    end
endmodule

// CCU2 with both carries in use: two look-up tables of four inputs, whose output decides whether
// the carry passes; where it does not, the table's lower half, indexed by C, B and A, is the carry.
// The tables are given as text, "0x" and four hexadecimal digits.
module CCU2 #(
  parameter INJECT = "YES", parameter [47:0] INIT0 = "0x0000", parameter [47:0] INIT1 = "0x0000"
) (
  input CIN, input A0, input B0, input C0, input D0, input A1, input B1, input C1, input D1,
  output S0, output S1, output COUT
);
  initial
    if (INJECT != "NO") begin
      $display("CCU2 twin: unsupported parameters");
      $finish;
    end
  function [3:0] digit(input [7:0] text);
    // "A" is 8'h41 and "a" 8'h61: their low digits count from 1.
    digit = text[6] ? text[3:0] + 4'd9 : text[3:0];
  endfunction
  function [15:0] table_of(input [47:0] text);
    table_of = {digit(text[31:24]), digit(text[23:16]), digit(text[15:8]), digit(text[7:0])};
  endfunction
  localparam [15:0] TABLE0 = table_of(INIT0);
  localparam [15:0] TABLE1 = table_of(INIT1);
  wire pass0 = TABLE0[{D0, C0, B0, A0}];
  wire pass1 = TABLE1[{D1, C1, B1, A1}];
  wire carry = pass0 ? CIN : TABLE0[{1'b0, C0, B0, A0}];
  assign S0 = pass0 ^ CIN;
  assign S1 = pass1 ^ carry;
  assign COUT = pass1 ? carry : TABLE1[{1'b0, C1, B1, A1}];
endmodule
