"""The object store: the only door to boto3.

Everything here blocks: asynchronous callers use threads (``asyncio.to_thread``), and one ``ObjectStore`` serves any number of them.
"""

from ops.objects.bucket import Head, ObjectStore
from ops.objects.client import client, ensure_buckets
from ops.objects.problems import AlreadyThere, Cold, NotThere, StoreError, StoreUnavailable, Unsupported
from ops.objects.upload import PART_BYTES, Lock, Upload

__all__ = [
    "PART_BYTES",
    "AlreadyThere",
    "Cold",
    "Head",
    "Lock",
    "NotThere",
    "ObjectStore",
    "StoreError",
    "StoreUnavailable",
    "Unsupported",
    "Upload",
    "client",
    "ensure_buckets",
]
