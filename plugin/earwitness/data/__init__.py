"""Entries of ``dataset_info.json``, records to judge, and the data that they come from."""
