"""Features: each a package with a manifest, nouns (`model.py`), verbs (`service.py`) and a page (`README.md`); none knows another."""
