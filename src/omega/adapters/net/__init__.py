"""What adapters that send and receive have in common."""
