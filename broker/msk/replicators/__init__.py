"""Replicators: links of this project, each in a process of its own, under the service's names and rules.

Reading order: `rules` and `fitness` say what is refused, `records` what is kept, `link_file` what a request means as a
link, `park` what becomes of it, `outfit` what its process gets, `runner` and `process` how it runs, `role` as whom.
"""
