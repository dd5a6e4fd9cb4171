"""Agents elsewhere (A2A 1.0): asked through the gate, each under the card that an operator accepted."""

from omega.adapters.a2a.effector import AskPeer, PeerEffector
from omega.adapters.a2a.flow import Asked, Told, ask_peer, peer
from omega.adapters.a2a.peers import Peer, digest_of
from omega.adapters.a2a.talking import fetch_card, fetch_keys

__all__ = ["AskPeer", "Asked", "Peer", "PeerEffector", "Told", "ask_peer", "digest_of", "fetch_card", "fetch_keys", "peer"]
