"""Adapters: the only code that touches the world. Each imports the kernel and the wire, none imports another."""
