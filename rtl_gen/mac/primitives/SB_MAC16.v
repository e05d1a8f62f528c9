// Behavioural twin of the iCE40 UltraPlus SB_MAC16, for simulation only.
//
// It models the one set-up the generator uses: 8x8 mode, signed, registers for A, B, both
// products and both sums; a sum is the product plus C (top) or D (bottom), which are not
// registered; no reset, no load, no subtraction, no cascade. Any other set-up stops the
// simulation.
module SB_MAC16 #(
  parameter NEG_TRIGGER = 1'b0, parameter A_REG = 1'b0, parameter B_REG = 1'b0,
  parameter C_REG = 1'b0, parameter D_REG = 1'b0, parameter TOP_8x8_MULT_REG = 1'b0,
  parameter BOT_8x8_MULT_REG = 1'b0, parameter PIPELINE_16x16_MULT_REG1 = 1'b0,
  parameter PIPELINE_16x16_MULT_REG2 = 1'b0, parameter TOPOUTPUT_SELECT = 2'b00,
  parameter TOPADDSUB_LOWERINPUT = 2'b00, parameter TOPADDSUB_UPPERINPUT = 1'b0,
  parameter TOPADDSUB_CARRYSELECT = 2'b00, parameter BOTOUTPUT_SELECT = 2'b00,
  parameter BOTADDSUB_LOWERINPUT = 2'b00, parameter BOTADDSUB_UPPERINPUT = 1'b0,
  parameter BOTADDSUB_CARRYSELECT = 2'b00, parameter MODE_8x8 = 1'b0,
  parameter A_SIGNED = 1'b0, parameter B_SIGNED = 1'b0
) (
  input CLK, input CE, input [15:0] A, input [15:0] B, input [15:0] C, input [15:0] D,
  input AHOLD, input BHOLD, input CHOLD, input DHOLD,
  input IRSTTOP, input IRSTBOT, input ORSTTOP, input ORSTBOT, input OLOADTOP, input OLOADBOT,
  input ADDSUBTOP, input ADDSUBBOT, input OHOLDTOP, input OHOLDBOT,
  input CI, input ACCUMCI, input SIGNEXTIN,
  output [31:0] O
);
  initial
    if (NEG_TRIGGER != 0 || A_REG != 1 || B_REG != 1 || C_REG != 0 || D_REG != 0 ||
        TOP_8x8_MULT_REG != 1 || BOT_8x8_MULT_REG != 1 || PIPELINE_16x16_MULT_REG1 != 0 ||
        PIPELINE_16x16_MULT_REG2 != 0 || TOPOUTPUT_SELECT != 1 || TOPADDSUB_LOWERINPUT != 1 ||
        TOPADDSUB_UPPERINPUT != 1 || TOPADDSUB_CARRYSELECT != 0 || BOTOUTPUT_SELECT != 1 ||
        BOTADDSUB_LOWERINPUT != 1 || BOTADDSUB_UPPERINPUT != 1 || BOTADDSUB_CARRYSELECT != 0 ||
        MODE_8x8 != 1 || A_SIGNED != 1 || B_SIGNED != 1) begin
      $display("SB_MAC16 twin: unsupported parameters");
      $finish;
    end
  reg [15:0] a, b, top, bottom;
  reg signed [15:0] top_product, bottom_product;
  wire signed [7:0] top_a = a[15:8], top_b = b[15:8], bottom_a = a[7:0], bottom_b = b[7:0];
  initial begin
    a = 0; b = 0; top = 0; bottom = 0; top_product = 0; bottom_product = 0;
  end
  always @(posedge CLK)
    if (CE) begin
      a <= A;
      b <= B;
      top_product <= top_a * top_b;
      bottom_product <= bottom_a * bottom_b;
      if (!OHOLDTOP) top <= C + top_product;
      if (!OHOLDBOT) bottom <= D + bottom_product;
    end
  assign O = {top, bottom};
  // Only these controls are modelled; anything else is an error of the generator.
  always @(posedge CLK)
    if (AHOLD || BHOLD || CHOLD || DHOLD || IRSTTOP || IRSTBOT || ORSTTOP || ORSTBOT ||
        OLOADTOP || OLOADBOT || ADDSUBTOP || ADDSUBBOT || CI || ACCUMCI || SIGNEXTIN) begin
      $display("SB_MAC16 twin: unsupported controls");
      $finish;
    end
endmodule
