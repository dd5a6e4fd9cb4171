"""Identity and proofs: passports, delegation, sealing, Merkle trees, signed checkpoints.

Synchronous and pure: keys come in as signers, time as a number.
"""
