"""The code-review workflow: real history, real analysers, one report, every step on the road.

`flow.py` is the workflow; `programs/` are the analysers it runs as outside programs; `rank.py` and `reports/` are pure.
"""
