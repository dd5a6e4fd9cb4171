"""What every entrance shares: what it may ask of the process (`core`), reading requests and answering them, limits, errors, the door."""
