"""The composition root: knows every room and wires them; nobody below knows it."""
