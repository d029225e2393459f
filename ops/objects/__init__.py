"""The object store: the only door to boto3.

Everything here blocks: asynchronous callers use threads (``asyncio.to_thread``), and one ``ObjectStore`` serves any number of them.
"""

from ops.objects.bucket import Head, Lifecycle, ObjectStore, SimulatedGlacier
from ops.objects.client import client, ensure_buckets
from ops.objects.problems import AlreadyThere, Cold, Denied, NoCapacity, NotThere, StoreUnavailable, Unsupported, Warm
from ops.objects.restoration import COLD_CLASSES, Restoration
from ops.objects.upload import PIECE_BYTES, Lock, Upload

__all__ = [
    "COLD_CLASSES",
    "PIECE_BYTES",
    "AlreadyThere",
    "Cold",
    "Denied",
    "Head",
    "Lifecycle",
    "Lock",
    "NoCapacity",
    "NotThere",
    "ObjectStore",
    "Restoration",
    "SimulatedGlacier",
    "StoreUnavailable",
    "Unsupported",
    "Upload",
    "Warm",
    "client",
    "ensure_buckets",
]
