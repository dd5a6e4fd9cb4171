"""Entrances over the network: each turns what its protocol says into a `Call`, and takes the one road with it. None knows another."""
