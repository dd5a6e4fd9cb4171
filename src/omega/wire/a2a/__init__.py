"""The agent-to-agent protocol (A2A 1.0, a2a-protocol.org) as pure data: messages, operations, faults, cards and their signatures."""
