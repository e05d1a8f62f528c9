"""The cocotb benches of the detect top."""
