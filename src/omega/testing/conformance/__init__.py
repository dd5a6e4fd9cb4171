"""One suite of tests per port: an adapter is right when it passes its suite unchanged.

Subclass the suite in a test module and give the fixtures it asks for; needs pytest and Hypothesis, which `omega` itself does not install.
"""

from omega.testing.conformance.batches import FullStore, NoteSequencer
from omega.testing.conformance.blobs import BlobsConformance
from omega.testing.conformance.bus import BusConformance
from omega.testing.conformance.effector import EffectorCase, EffectorConformance
from omega.testing.conformance.small import (
    ClockConformance,
    EntropyConformance,
    SealerConformance,
    SequencerConformance,
    SignerConformance,
)
from omega.testing.conformance.store import StoreConformance
from omega.testing.conformance.tables import TablesConformance
from omega.testing.conformance.wakeups import WakeupsConformance

__all__ = [
    "BlobsConformance",
    "BusConformance",
    "ClockConformance",
    "EffectorCase",
    "EffectorConformance",
    "EntropyConformance",
    "FullStore",
    "NoteSequencer",
    "SealerConformance",
    "SequencerConformance",
    "SignerConformance",
    "StoreConformance",
    "TablesConformance",
    "WakeupsConformance",
]
