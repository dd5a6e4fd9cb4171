"""Identity and proofs: passports, delegation, proofs of possession, credentials, attestations, keys that rotate, sealing, Merkle trees,
signed checkpoints.

Synchronous and pure: keys come in as signers, time as a number.
"""
