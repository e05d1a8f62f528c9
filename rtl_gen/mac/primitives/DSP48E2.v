// Behavioural twin of the DSP48E2 slice, for simulation only.
//
// It models the one set-up the generator uses: pre-adder on, one A, D, AD, M and P register, two
// B registers, C and CARRYIN straight to the adder, registered OPMODE, no resets. W adds 0 or C.
// Any other set-up stops the simulation.
module DSP48E2 #(
  parameter AREG = 1, parameter ACASCREG = 1, parameter BREG = 1, parameter BCASCREG = 1,
  parameter DREG = 1, parameter ADREG = 1, parameter CREG = 1, parameter MREG = 1,
  parameter PREG = 1, parameter OPMODEREG = 1, parameter ALUMODEREG = 1,
  parameter INMODEREG = 1, parameter CARRYINREG = 1, parameter CARRYINSELREG = 1,
  parameter USE_MULT = "MULTIPLY", parameter AMULTSEL = "A"
) (
  input CLK,
  input [29:0] A, input [17:0] B, input [47:0] C, input [26:0] D,
  input [4:0] INMODE, input [8:0] OPMODE, input [3:0] ALUMODE,
  input CARRYIN, input [2:0] CARRYINSEL,
  input CEA1, input CEA2, input CEB1, input CEB2, input CEC, input CED, input CEAD,
  input CEM, input CEP, input CECTRL, input CEALUMODE, input CECARRYIN, input CEINMODE,
  input RSTA, input RSTB, input RSTC, input RSTD, input RSTM, input RSTP, input RSTCTRL,
  input RSTALUMODE, input RSTINMODE, input RSTALLCARRYIN,
  output reg [47:0] P
);
  initial begin
    P = 48'd0;
    if (AREG != 1 || BREG != 2 || DREG != 1 || ADREG != 1 || MREG != 1 || PREG != 1 ||
        OPMODEREG != 1 || CREG != 0 || CARRYINREG != 0 || AMULTSEL != "AD") begin
      $display("DSP48E2 twin: unsupported parameters");
      $finish;
    end
  end
  reg signed [26:0] a2, d1, ad;
  reg signed [17:0] b1, b2;
  reg signed [47:0] product;
  reg [8:0] mode;
  initial begin
    a2 = 0; d1 = 0; ad = 0; b1 = 0; b2 = 0; product = 0; mode = 0;
  end
  always @(posedge CLK) begin
    if (CEA2) a2 <= A[26:0];
    if (CED) d1 <= D;
    if (CEAD) ad <= a2 + d1;
    if (CEB1) b1 <= B;
    if (CEB2) b2 <= b1;
    if (CEM) product <= ad * b2;
    if (CECTRL) mode <= OPMODE;
    if (CEP)
      P <= (mode[8:7] == 2'b11 ? C : 48'd0) + (mode[6:4] == 3'b010 ? P : 48'd0) + product + CARRYIN;
  end
  // Only these controls are modelled; anything else is an error of the generator.
  always @(posedge CLK)
    if (INMODE != 5'b00100 || ALUMODE != 4'd0 || RSTA || RSTB || RSTC || RSTD || RSTM || RSTP ||
        RSTCTRL || CARRYINSEL != 3'd0 || (CECTRL && (OPMODE[3:0] != 4'b0101 || OPMODE[8] != OPMODE[7] ||
        (OPMODE[6:4] != 3'b000 && OPMODE[6:4] != 3'b010)))) begin
      $display("DSP48E2 twin: unsupported controls");
      $finish;
    end
endmodule
