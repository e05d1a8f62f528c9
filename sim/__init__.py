"""Simulation: Verilator library driven with numpy memory, and cocotb benches."""
