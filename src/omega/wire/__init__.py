"""What goes over wires: formats and protocols as pure data, without sockets, clocks or randomness."""
