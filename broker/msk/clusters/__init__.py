"""Clusters that run: each is a child process with one bundled broker a node, kept alive and as its record says.

`park` is what operations use; `runner` keeps one process; `cluster_file` says what a record means for it.
"""
