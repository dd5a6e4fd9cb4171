"""The tamper-evident log: leaves, the sequencer that grows a tenant's tree, exports, and the verifier that stands alone."""
