"""The data plane: fetcher -> stage -> writer, with a byte budget around it.

Start at `partition.py`: one source partition's way through all three. `stage.py` decides what becomes of a batch,
`fetcher.py` and `writer.py` talk to the brokers, `backpressure.py` bounds the memory between them.
"""
