"""Checkpoints: what they say (`manifest`), where they lie (`blobs`), and which there are (`manifests`).

Their frames are stored by `state_files`, whole snapshots by `snapshots`.
"""
