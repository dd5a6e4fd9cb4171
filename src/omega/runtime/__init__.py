"""The runtime: journal before, touch the world with a permit, journal after."""
