"""The object store: the only door to boto3.

Everything here blocks: asynchronous callers use threads (``asyncio.to_thread``), and one ``ObjectStore`` serves any number of them.
"""

from ops.objects.bucket import Head, Lifecycle, ObjectStore
from ops.objects.client import client, ensure_buckets
from ops.objects.problems import AlreadyThere, Cold, Denied, NotThere, StoreUnavailable, Unsupported
from ops.objects.upload import PIECE_BYTES, Lock, Upload

__all__ = [
    "PIECE_BYTES",
    "AlreadyThere",
    "Cold",
    "Denied",
    "Head",
    "Lifecycle",
    "Lock",
    "NotThere",
    "ObjectStore",
    "StoreUnavailable",
    "Unsupported",
    "Upload",
    "client",
    "ensure_buckets",
]
