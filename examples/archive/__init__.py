"""Archives topics as Parquet objects in S3 or what speaks its protocol: each record once, also through crashes.

Reading order: `names.py` (where an object is, and what its name promises), `store.py` (how one is added),
`chunk.py`, `pack.py` and `decoding.py` (what is in one), `archiver.py` (from a consumer group to objects).
"""
