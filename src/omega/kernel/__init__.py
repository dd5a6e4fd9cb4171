"""What a flow is and what may happen next: pure, no I/O, no clock, no randomness."""
