"""How each file format is read: Parquet, CSV, NDJSON and Arrow IPC, behind one small contract."""
